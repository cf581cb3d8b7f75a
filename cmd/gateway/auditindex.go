package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/index"
	"yizheng/cmd/internal/assembly"
)

// auditIndex holds a log's search index to the log, or makes it anew.
func auditIndex(ctx context.Context, args []string, out io.Writer) error {
	f := flags("audit index", "-dir DIR -key FILE [-index DIR] -compare|-rebuild", "gateway audit index -dir var/demo/audit -key var/demo/keys/audit.pub.pem -compare")
	dir := f.String("dir", "var/demo/audit", "日志目录 / the log's directory")
	key := f.String("key", "var/demo/keys/audit.pub.pem", "钉住的日志公钥，逗号分隔 / pinned keys, comma separated")
	at := f.String("index", "", "索引目录；默认为日志目录名加 -index / directory of the index; default: that of the log with -index behind it")
	compare := f.Bool("compare", false, "与日志逐条比对，网关可在运行 / hold every row to the log; the gateway may run")
	rebuild := f.Bool("rebuild", false, "由日志重建，网关须先停止 / make it anew from the log; stop the gateway first")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *compare == *rebuild {
		f.Usage()
		return errUsage
	}
	keys, err := auditor.Keys(*key)
	if err != nil {
		return err
	}
	c := assembly.AuditConfig{Dir: *dir, Index: *at}
	c.Paths() // sets the default
	dirs, err := auditor.Dirs(*dir)
	if err != nil {
		return err
	}
	good := true
	for _, shard := range dirs {
		each := func(fn func(audit.Stored) error) error { return audit.Each(shard, fn, keys...) }
		quarter := filepath.Join(c.Index, filepath.Base(shard))
		if *rebuild {
			err = index.Build(ctx, index.Config{Dir: quarter}, each)
			if errors.Is(err, index.ErrInUse) {
				return fmt.Errorf("%s: 索引正被使用，请先停止网关 / in use, stop the gateway first", quarter)
			}
			if err == nil {
				fmt.Fprintf(out, "%s  已重建 / made anew\n", quarter)
			}
		} else {
			var same bool
			same, err = compareIndex(ctx, quarter, each, out)
			good = good && same
		}
		if err != nil {
			return err
		}
	}
	if !good {
		return errNo
	}
	return nil
}

// mostDifferences are printed; the others are counted.
const mostDifferences = 100

func compareIndex(ctx context.Context, dir string, each index.Each, out io.Writer) (same bool, err error) {
	printed := 0
	done, err := index.Compare(ctx, dir, each, func(d index.Difference) {
		if printed++; printed > mostDifferences {
			return
		}
		at := ""
		if d.Index != audit.NoIndex {
			at = fmt.Sprintf("第 %d 条 / entry %d: ", d.Index, d.Index)
		}
		fmt.Fprintf(out, "  ✗ %s%s\n", at, d.What)
	})
	if err != nil {
		return false, err
	}
	verdict := "一致 / same"
	if done.Differences > 0 {
		verdict = "不一致 / DIFFERENT"
	}
	fmt.Fprintf(out, "%s  %s：日志 %d 条，已索引 %d 条，%d 处不符 / log of %d, %d indexed, %d differences\n",
		dir, verdict, done.Entries, done.Indexed, done.Differences, done.Entries, done.Indexed, done.Differences)
	return done.Differences == 0, nil
}
