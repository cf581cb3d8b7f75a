package auditor

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
)

// Command is the command line of a verification, which `gateway audit verify`
// and auditverify share.
type Command struct {
	// Complete: what is not held against anything fails, see Options.Complete.
	Complete bool
	// Tokens, if set, makes the check of time stamps out of a file with roots
	// (package audit/stamp).
	Tokens func(roots string) (func(token, over []byte) (time.Time, time.Duration, error), error)

	dir, keys, known, days      string
	witnesses, witnessed, since string
	receipts, without           string
	live, partial, asJSON       bool
	minSize                     uint64
	need                        int
	maxAge, maxUnstamped        time.Duration
	stamps, tsa                 string
}

// Flags adds the command's flags.
func (c *Command) Flags(f *flag.FlagSet) {
	f.StringVar(&c.dir, "dir", "var/demo/audit", "日志目录：一个季度或其上级 / the log's directory: one quarter, or the one above")
	f.StringVar(&c.keys, "key", "var/demo/keys/audit.pub.pem", "钉住的日志公钥，逗号分隔 / pinned keys, comma separated")
	f.BoolVar(&c.live, "live", false, "日志正在运行 / the log is running")
	f.Uint64Var(&c.minSize, "min-size", 0, "最后一个季度至少的条数 / least number of entries of the last quarter")
	f.StringVar(&c.known, "checkpoint", "", "以前留存的检查点文件，逗号分隔，每季度至多一个；日志必须由它增长而来；也可以是首个季度之前那个季度的最终检查点 / files of checkpoints kept from earlier, comma separated, one a quarter: the log must have grown out of them; or the final one of the quarter before the first")
	f.BoolVar(&c.partial, "partial", false, "更早的季度不在此处，只验其余 / earlier quarters are not here: verify the rest")
	f.StringVar(&c.witnesses, "witness", "", "钉住的见证人：名=公钥文件，逗号分隔 / pinned witnesses: name=FILE, comma separated")
	f.IntVar(&c.need, "need", 0, "至少几个见证人，默认全部 / how many witnesses are needed, default all")
	f.StringVar(&c.witnessed, "witnessed", "", "从见证人处取来的检查点或记录，逗号分隔 / files with checkpoints or records from the witnesses, comma separated")
	f.DurationVar(&c.maxAge, "max-unwitnessed", 4*time.Hour, "末条之前多久的条目必须已被见证 / how long before the last entry all must be witnessed")
	f.StringVar(&c.since, "witnessed-since", "", "更早的见证不算，如 2026-11-22T00:00:00+08:00 / cosignatures from before this time do not count")
	f.StringVar(&c.receipts, "receipt", "", "文书的回执或指针文件，逗号分隔 / files of documents' receipts or pointers, comma separated")
	f.StringVar(&c.days, "days", "", "以前的 -json 报告：每日条数须相符 / an earlier report made with -json: its counts per day must be the same")
	f.BoolVar(&c.asJSON, "json", false, "输出 JSON，每季度一行 / print JSON, a line for each quarter")
	if c.Tokens != nil {
		f.StringVar(&c.stamps, "stamps", "", "时间戳目录，须与 -tsa 同用；缺时间戳即不通过 / directory of time stamps, needs -tsa: missing ones fail")
		f.StringVar(&c.tsa, "tsa", "", "钉住的时间戳机构根证书 (PEM) / pinned roots of the time stamp authority")
		f.DurationVar(&c.maxUnstamped, "max-unstamped", 2*time.Hour, "日志运行时条目最久多长时间须有时间戳 / how long an entry may have waited for its time stamp while the log ran")
	}
	if c.Complete {
		f.StringVar(&c.without, "without", "", "确无此物而不核：known、witness，逗号分隔 / what there is none of: known, witness, comma separated")
	}
}

// Run verifies and prints. An error means that nothing could be verified.
func (c *Command) Run(ctx context.Context, out io.Writer) (good bool, err error) {
	o, err := c.options()
	if err != nil {
		return false, err
	}
	if o.Empty, err = Empty(c.dir); err != nil {
		return false, err
	}
	dirs, err := Dirs(c.dir)
	if err != nil {
		return false, err
	}
	return VerifyChain(ctx, dirs, o, func(s Shard) error {
		if c.asJSON {
			return json.NewEncoder(out).Encode(s)
		}
		s.Print(out)
		return nil
	})
}

// Subset verifies a subset file and prints.
func (c *Command) Subset(path string, out io.Writer) (good bool, err error) {
	keys, err := Keys(c.keys)
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("子集 / subset: %w", err)
	}
	known, err := files("已知检查点 / known checkpoint", c.known)
	if err != nil {
		return false, err
	}
	if len(known) > 1 {
		return false, fmt.Errorf("核验子集只用一个检查点 / a subset is held against one checkpoint")
	}
	r, err := VerifySubset(text, slices.Concat(known...), keys...)
	if err != nil {
		return false, err
	}
	if c.asJSON {
		return r.OK(), json.NewEncoder(out).Encode(r)
	}
	r.Print(out)
	return r.OK(), nil
}

func (c *Command) options() (Options, error) {
	o := Options{Live: c.live, MinSize: c.minSize, Partial: c.partial, Complete: c.Complete, Without: list(c.without)}
	for _, w := range o.Without {
		if w != "known" && w != "witness" {
			return o, fmt.Errorf("-without 只认 known、witness / -without knows known and witness: %s", w)
		}
	}
	var err error
	if o.Keys, err = Keys(c.keys); err != nil {
		return o, err
	}
	if o.Known, err = files("已知检查点 / known checkpoint", c.known); err != nil {
		return o, err
	}
	if o.Witnesses, err = c.witnessOptions(); err != nil {
		return o, err
	}
	if o.Stamps, err = c.stampOptions(); err != nil {
		return o, err
	}
	if err := c.documents(&o); err != nil {
		return o, err
	}
	if c.days == "" {
		return o, nil
	}
	r, err := os.Open(c.days)
	if err != nil {
		return o, fmt.Errorf("以前的报告 / earlier report: %w", err)
	}
	defer r.Close()
	o.Days, err = readDays(r)
	return o, err
}

func (c *Command) witnessOptions() (Witnesses, error) {
	w := Witnesses{Need: c.need, MaxAge: c.maxAge}
	for _, pair := range list(c.witnesses) {
		name, file, ok := strings.Cut(pair, "=")
		if !ok {
			return w, fmt.Errorf("-witness 要写成 名=公钥文件 / write -witness name=FILE: %s", pair)
		}
		key, err := audit.ReadKey(file)
		if err != nil {
			return w, fmt.Errorf("见证人公钥 / a witness's key: %w", err)
		}
		w.By = append(w.By, audit.WitnessKey{Name: name, Key: key})
	}
	var err error
	if w.Notes, err = files("见证 / witnessed checkpoint", c.witnessed); err != nil {
		return w, err
	}
	if c.since != "" {
		if w.Since, err = time.Parse(time.RFC3339, c.since); err != nil {
			return w, fmt.Errorf("-witnessed-since 要写成 2026-11-22T00:00:00+08:00 / is no time: %w", err)
		}
	}
	return w, nil
}

func (c *Command) stampOptions() (Stamps, error) {
	s := Stamps{Dir: c.stamps, MaxAge: c.maxUnstamped}
	if (c.stamps == "") != (c.tsa == "") {
		return s, fmt.Errorf("-stamps 与 -tsa 须同时给出 / -stamps and -tsa need each other")
	}
	if c.stamps == "" {
		return s, nil
	}
	var err error
	if s.Verify, err = c.Tokens(c.tsa); err != nil {
		return s, fmt.Errorf("-tsa: %w", err)
	}
	return s, nil
}

// documents reads receipts (one a file) and pointers (one a line).
func (c *Command) documents(o *Options) error {
	texts, err := files("回执 / receipt", c.receipts)
	if err != nil {
		return err
	}
	for i, text := range texts {
		if r, err := audit.ParseReceipt(text); err == nil {
			o.Receipts = append(o.Receipts, r)
			continue
		}
		for line := range strings.Lines(string(text)) {
			p, err := audit.ParsePointer(strings.TrimSpace(line))
			if err != nil {
				return fmt.Errorf("%s 既不是回执，也不是每行一个指针 / holds neither a receipt nor a pointer a line: %w", list(c.receipts)[i], err)
			}
			o.Pointers = append(o.Pointers, p)
		}
	}
	return nil
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func files(what, paths string) ([][]byte, error) {
	var all [][]byte
	for _, path := range list(paths) {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		all = append(all, b)
	}
	return all, nil
}

// Keys reads the pinned keys of a log, comma separated.
func Keys(paths string) ([]*ecdsa.PublicKey, error) {
	var keys []*ecdsa.PublicKey
	for path := range strings.SplitSeq(paths, ",") {
		k, err := audit.ReadKey(path)
		if err != nil {
			return nil, fmt.Errorf("日志公钥，请用 -key 指定 / key of the log, give it with -key: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// Dirs is dir itself if it is a log, else the logs of all quarters in it.
func Dirs(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, "log.json")); err == nil {
		return []string{dir}, nil
	}
	names, err := Shards(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s 里没有审计日志 / holds no audit log", dir)
	}
	for i := range names {
		names[i] = filepath.Join(dir, names[i])
	}
	return names, nil
}
