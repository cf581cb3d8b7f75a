package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
)

// Level of a Finding.
type Level string

// Levels.
const (
	Stop  Level = "stop"  // no business is taken
	Alarm Level = "alarm" // it will stop, or something is not safe; today
	Warn  Level = "warn"  // part of it does not work, or will not; this week
)

// Finding is something that somebody has to see to. docs/OPERATIONS.md has every code.
type Finding struct {
	Code    string `json:"code"`
	Level   Level  `json:"level"`
	About   string `json:"about,omitempty"` // which of several
	Chinese string `json:"note"`
	English string `json:"note_en"`
}

const (
	indexLate = time.Minute // an index follows within a second or two
	roomy     = 4           // low-water marks of disk space below which it is time to act
)

// judge fills in what follows from the rest.
func (r *Report) judge(now time.Time) {
	r.At, r.Findings = now.UTC().Truncate(time.Second), []Finding{}
	r.judgeLog(now)
	r.judgeOutside(now)
	r.judgeServices()
	r.judgeEnds()
	r.Ready = !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Level == Stop })
	order := []Level{Stop, Alarm, Warn}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.Level), slices.Index(order, b.Level))
	})
}

func (r *Report) find(l Level, code, about, zh, en string) {
	r.Findings = append(r.Findings, Finding{Code: code, Level: l, About: about, Chinese: zh, English: en})
}

// judgeLog is about the log's own directory and its index.
func (r *Report) judgeLog(now time.Time) {
	l := &r.Log
	l.CheckpointSeconds = -1
	if l.Checkpoint != nil {
		l.CheckpointSeconds = seconds(now, l.Checkpoint.At)
	}
	switch {
	case l.Failed:
		r.find(Stop, "LOG_FAILED", "", "审计日志已失效，进程正在退出；查明原因（运行日志有一行 cause），修复后重启", "the audit log has failed and the process ends; its last message has the cause, mend it and start again")
	case l.Low:
		r.find(Stop, "DISK_LOW", "", "审计目录所在磁盘空间低于低水位，已停办业务；请扩容或移走其他文件，不要动审计目录", "the disk of the audit directory is below its low-water mark, no business is taken; make room, but not in the audit directory")
	case l.Free >= 0 && l.Free < roomy*l.LowWater:
		r.find(Alarm, "DISK_SHRINKING", "", fmt.Sprintf("审计目录所在磁盘只剩 %d MiB，低于 %d MiB 即停办业务；请扩容", l.Free>>20, l.LowWater>>20),
			fmt.Sprintf("the disk of the audit directory has %d MiB left; below %d MiB no business is taken: make room", l.Free>>20, l.LowWater>>20))
	}
	late := slices.DeleteFunc(slices.Clone(l.Held), func(holder string) bool { return holder == audit.KeyHolder })
	if len(late) > 0 {
		by := strings.Join(late, ", ")
		r.find(Stop, "LOG_HELD", by, "已停办业务，因为 "+by+" 太久没有跟上；恢复后自动继续", "no business is taken, because of "+by+", which has not followed for too long; it goes on by itself once that is mended")
	}
	if len(late) < len(l.Held) {
		r.find(Stop, "PSEUDONYM_KEYS", "", "已停办业务：假名密钥目录退回到了以前的状态，或有未经证实的步骤；原因见运行日志，处理见 docs/OPERATIONS.md 五", "no business is taken: the directory of pseudonym keys is as it was before, or holds a step that is not proven; the messages say which, docs/OPERATIONS.md 五 what to do")
	}
	for _, shard := range r.Pseudonyms.Unread {
		r.find(Alarm, "PSEUDONYM_KEYS", shard, "这一卷日志读不了，不知其中对假名密钥做过什么；请用 gateway audit verify 查明，修复后重启", "this shard of the log cannot be read for what was done to the pseudonym keys; see gateway audit verify, mend it and start again")
	}
	if c := l.Replica; c != nil && !c.Follows {
		r.find(Alarm, "REPLICA_DOWN", "", fmt.Sprintf("同步副本没有跟上，落后 %d 条；请检查副本的机器或磁盘", c.Behind), fmt.Sprintf("the replica does not follow, %d entries behind; see to its machine or disk", c.Behind))
	}
	if x := r.Index; x != nil {
		x.Seconds = seconds(now, x.Since)
		if x.Seconds > int64(indexLate/time.Second) {
			r.find(Warn, "INDEX_BEHIND", "", fmt.Sprintf("检索索引落后 %d 条、%d 秒；检索结果会注明不完整", x.Entries, x.Seconds), fmt.Sprintf("the search index is %d entries and %d seconds behind; searches say that they are incomplete", x.Entries, x.Seconds))
		}
		for _, shard := range x.Lost {
			r.find(Alarm, "INDEX_LOST", shard, "这个季度的日志不能检索；见运行日志，或停机后删除索引目录重建", "this quarter cannot be searched; see the messages, or delete its index with the gateway stopped: it is made anew")
		}
		for _, c := range x.Changed {
			r.find(Alarm, "INDEX_CHANGED", c.Name(), fmt.Sprintf("检索索引的这个文件（第 %d 条起、%d 条前）不是网关所写：有人改动，或磁盘损坏。网关已据日志重建；请查明是谁、为何，并重做自上次核对以来的检索", c.First, c.Next),
				fmt.Sprintf("this file of the search index (entries %d up to %d) is not what the gateway wrote: somebody changed it, or the disk is bad. It is made again from the log; find out who did it and why, and repeat the searches since it was last checked", c.First, c.Next))
		}
	}
}

// judgeOutside is about those who keep the log honest from outside.
func (r *Report) judgeOutside(now time.Time) {
	if w := r.Witness; w != nil {
		w.Seconds, w.MaxSeconds = seconds(now, w.Since), int64(w.Max/time.Second)
		switch {
		case w.Forked:
			r.find(Alarm, "LOG_FORKED", "", "见证人见过的日志与现在的不一致：日志被回退或改写。不要再启动，保全磁盘，报告审计部门", "witnesses have seen another log than this one: it was put back or rewritten. Do not start it again, keep the disk, tell the audit office")
		case w.Unwitnessed > 0 && 2*w.Seconds > w.MaxSeconds:
			r.find(Alarm, "UNWITNESSED", "", fmt.Sprintf("%d 条记录已 %d 秒未获见证，满 %d 秒即停办业务；请检查到见证服务的网络，或联系其管理单位", w.Unwitnessed, w.Seconds, w.MaxSeconds),
				fmt.Sprintf("%d entries have been without a witness for %d seconds; after %d no business is taken: see to the network, or ask who runs the witnesses", w.Unwitnessed, w.Seconds, w.MaxSeconds))
		}
	}
	if s := r.Stamps; s != nil {
		s.Seconds, s.MaxSeconds = seconds(now, s.Since), int64(s.Max/time.Second)
		if !s.Since.IsZero() && now.Sub(s.Since) > 2*s.Every {
			r.find(Alarm, "UNSTAMPED", "", fmt.Sprintf("审计日志已 %d 秒没有时间戳；请检查时间戳服务", s.Seconds), fmt.Sprintf("the audit log has been without a time stamp for %d seconds; see to the time stamp authority", s.Seconds))
		}
	}
	for _, c := range r.Copies {
		if c.Error != "" {
			r.find(Alarm, "COPY_BEHIND", c.Name, fmt.Sprintf("副本没有送达，积压 %d 条；请检查接收方，原因见运行日志", c.Behind), fmt.Sprintf("the copy is not taken, %d entries wait; see to the receiver, the messages have the cause", c.Behind))
		}
	}
}

// judgeServices is about what the gateway asks.
func (r *Report) judgeServices() {
	if !r.Pseudonyms.Reachable {
		r.find(Stop, "PSEUDONYMS_DOWN", "", "假名服务不可用，什么都不能记录，也就不办理；请启动 gateway pseudod", "the pseudonym service does not answer: nothing can be recorded, so nothing is done; start gateway pseudod")
	}
	if !r.Store.Reachable {
		r.find(Stop, "STORE_DOWN", "", "状态库（数据库或 Redis）不可用；请检查 store 一节所指的服务", "the state store (database or Redis) does not answer; see to what the section store names")
	}
	if a := r.Authority; a != nil && a.Down {
		level, zh, en := Warn, "文书暂无时间戳，已照配置继续签发", "documents go without for now, as configured"
		if a.Required {
			level, zh, en = Alarm, "没有时间戳就不签发，文书暂不能出具", "documents cannot be issued without"
		}
		r.find(level, "TSA_DOWN", "", "时间戳服务不可用："+zh, "the time stamp authority cannot be reached: "+en)
	}
	for _, l := range r.Lines {
		if !l.Up {
			r.find(Warn, "LINE_DOWN", l.Name, "连不上该部门的系统或前置机；请联系该部门", "the department's system or front processor cannot be reached; tell the department")
		}
	}
}

func (r *Report) judgeEnds() {
	for _, e := range r.Ends {
		name := strings.TrimSpace(e.What + " " + e.Name)
		day := e.Until.UTC().Format(time.DateOnly)
		switch {
		case e.Days < 0:
			r.find(Alarm, "ENDED", name, "已于 "+day+" 到期，请立即更新", "ended on "+day+"; renew it now")
		case e.Within > 0 && e.Within <= 7:
			r.find(Alarm, "ENDS", name, fmt.Sprintf("%d 天后（%s）到期，请本周更新", e.Days, day), fmt.Sprintf("ends in %d days, on %s; renew it this week", e.Days, day))
		case e.Within > 0:
			r.find(Warn, "ENDS", name, fmt.Sprintf("%d 天后（%s）到期，请安排更新", e.Days, day), fmt.Sprintf("ends in %d days, on %s; plan its renewal", e.Days, day))
		}
	}
}

// seconds since then, 0 if there is no then.
func seconds(now, then time.Time) int64 {
	if then.IsZero() {
		return 0
	}
	return max(0, int64(now.Sub(then)/time.Second))
}
