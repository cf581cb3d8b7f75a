package auditor

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// Print writes a report for people: a line of verdict, what was counted, then
// each problem (✗) and doubt (!).
func (s Shard) Print(out io.Writer) {
	verdict := "通过 / ok"
	if !s.OK() {
		verdict = "不通过 / FAILED"
	}
	fmt.Fprintf(out, "%s  %s\n  %s：%d 条 / entries，%d 批 / frames，%d 段 / segments，%d 检查点 / checkpoints，根 / root %s\n",
		s.Dir, verdict, s.Origin, s.Entries, s.Frames, s.Segments, s.Checkpoints, s.Head.Root)
	for _, day := range slices.Sorted(maps.Keys(s.Days)) {
		fmt.Fprintf(out, "  %s：%d 条 / entries\n", day, s.Days[day].Entries)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Witnessed)) {
		fmt.Fprintf(out, "  见证 / witnessed by %s：%s\n", name, s.Witnessed[name].In(beijing.Zone()).Format(time.RFC3339))
	}
	if s.Stamps > 0 {
		fmt.Fprintf(out, "  时间戳 / time stamps：%d\n", s.Stamps)
	}
	if len(s.NotChecked) > 0 {
		fmt.Fprintf(out, "  未核 / not checked: %s\n", strings.Join(s.NotChecked, ", "))
	}
	for _, p := range s.Problems {
		fmt.Fprintf(out, "  ✗ %s（%s）\n", p, meaning(p.Code))
	}
	for _, p := range s.Warnings {
		fmt.Fprintf(out, "  ! %s（%s）\n", p, meaning(p.Code))
	}
}

// finding is a problem in JSON.
type finding struct {
	Code   string  `json:"code"`
	File   string  `json:"file,omitempty"`
	Offset *int64  `json:"offset,omitempty"`
	Index  *uint64 `json:"index,omitempty"`
	Text   string  `json:"text"`
}

func findings(list []audit.Problem) []finding {
	out := []finding{}
	for _, p := range list {
		f := finding{Code: p.Code, File: p.File, Text: p.Text}
		if p.Offset >= 0 {
			f.Offset = &p.Offset
		}
		if p.Index != audit.NoIndex {
			f.Index = &p.Index
		}
		out = append(out, f)
	}
	return out
}

// inJSON is a report for machines. Kept, it is what a later verification
// compares its counts with.
type inJSON struct {
	Dir         string               `json:"dir"`
	Origin      string               `json:"origin"`
	OK          bool                 `json:"ok"`
	Entries     uint64               `json:"entries"`
	Frames      int                  `json:"frames"`
	Segments    int                  `json:"segments"`
	Checkpoints int                  `json:"checkpoints"`
	Tiles       int                  `json:"tiles"`
	Checkpoint  string               `json:"checkpoint,omitempty"` // the last head, signed
	Days        map[string]Day       `json:"days"`
	Witnessed   map[string]time.Time `json:"witnessed,omitempty"`
	Stamps      int                  `json:"stamps,omitempty"` // heads stamped
	NotChecked  []string             `json:"not_checked,omitempty"`
	Problems    []finding            `json:"problems"`
	Warnings    []finding            `json:"warnings"`
}

// MarshalJSON writes the report on one line.
func (s Shard) MarshalJSON() ([]byte, error) {
	j := inJSON{Dir: s.Dir, Origin: s.Origin, OK: s.OK(), Entries: s.Entries, Frames: s.Frames, Segments: s.Segments,
		Checkpoints: s.Checkpoints, Tiles: s.Tiles, Days: s.Days, Witnessed: s.Witnessed, Stamps: s.Stamps, NotChecked: s.NotChecked,
		Problems: findings(s.Problems), Warnings: findings(s.Warnings)}
	if s.Head.Size > 0 {
		note, err := s.Head.MarshalText()
		if err != nil {
			return nil, err
		}
		j.Checkpoint = string(note)
	}
	return json.Marshal(j)
}

// readDays takes the counts out of an earlier report in JSON.
func readDays(r io.Reader) (map[string]map[string]Day, error) {
	all := make(map[string]map[string]Day)
	for dec := json.NewDecoder(r); ; {
		var j inJSON
		err := dec.Decode(&j)
		if err == io.EOF {
			return all, nil
		}
		if err != nil || j.Origin == "" || j.Days == nil {
			return nil, fmt.Errorf("不是 -json 的报告 / not a report made with -json: %w", err)
		}
		if !j.OK {
			return nil, fmt.Errorf("%s 的旧报告不通过，不能作比 / the earlier report on %s was FAILED and is no measure", j.Origin, j.Origin)
		}
		all[j.Origin] = j.Days
	}
}

// Print writes the report on a subset for people.
func (r SubsetReport) Print(out io.Writer) {
	verdict := "通过 / ok"
	if !r.OK() {
		verdict = "不通过 / FAILED"
	}
	fmt.Fprintf(out, "%s  %s\n  第 %d–%d 条中的 %d 条 / entries，%d 条不含内部信息 / without closed half；当时日志有 / the log then had %d\n",
		r.Origin, verdict, r.First, r.Last, r.Entries, r.Withheld, r.Size)
	if !r.From.IsZero() {
		fmt.Fprintf(out, "  自 / from %s 至 / to %s\n", r.From.In(beijing.Zone()).Format(time.RFC3339), r.To.In(beijing.Zone()).Format(time.RFC3339))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(out, "  ✗ %s（%s）\n", p, meaning(p.Code))
	}
}

// MarshalJSON writes the report on one line.
func (r SubsetReport) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"origin": r.Origin, "ok": r.OK(), "size": r.Size, "first": r.First, "last": r.Last,
		"entries": r.Entries, "withheld": r.Withheld, "problems": findings(r.Problems)})
}
