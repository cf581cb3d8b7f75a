package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"yizheng/audit/auditor"
	"yizheng/catalog/beijing"
)

// auditExport writes some entries with their proofs into one file, which
// auditverify checks without the log.
func auditExport(_ context.Context, args []string, out io.Writer) error {
	f := flags("audit export", "-dir DIR -key FILE (-index N,M-N | -from DAY -to DAY) -out FILE",
		"gateway audit export -dir var/demo/audit/2026q4 -from 2026-11-01 -to 2026-11-30 -out november.json")
	dir := f.String("dir", "", "一个季度的日志目录 / the directory of one quarter")
	key := f.String("key", "var/demo/keys/audit.pub.pem", "钉住的日志公钥 / pinned key")
	index := f.String("index", "", "条目序号，如 3,7-12 / indexes of entries")
	from := f.String("from", "", "起始日（含），如 2026-11-01 / first day")
	to := f.String("to", "", "截止日（含） / last day, inclusive")
	withhold := f.Bool("withhold", false, "不含内部信息（经办人、终端等），如给当事人 / without the closed halves (operator, device), as for a resident")
	file := f.String("out", "", "输出文件，须不存在 / output file, which must not exist")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *dir == "" || *file == "" || (*index == "") == (*from == "" || *to == "") {
		f.Usage()
		return errUsage
	}
	choice := auditor.Choice{Withhold: *withhold}
	var err error
	if *index != "" {
		choice.Index, err = indexes(*index)
	} else {
		choice.From, choice.To, err = days(*from, *to)
	}
	if err != nil {
		return err
	}
	keys, err := auditor.Keys(*key)
	if err != nil {
		return err
	}
	text, err := auditor.Export(*dir, choice, keys...)
	if err != nil {
		return err
	}
	w, err := os.OpenFile(*file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("输出文件 / output file: %w", err)
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("输出文件 / output file: %w", err)
	}
	fmt.Fprintf(out, "已导出 / exported: %s；核验 / verify: auditverify -subset %s -key FILE\n", *file, *file)
	return nil
}

// indexes reads a list such as 3,7-12.
func indexes(list string) (func(uint64) bool, error) {
	type span struct{ from, to uint64 }
	var spans []span
	for item := range strings.SplitSeq(list, ",") {
		a, b, ranged := strings.Cut(item, "-")
		from, err := strconv.ParseUint(a, 10, 64)
		to := from
		if err == nil && ranged {
			to, err = strconv.ParseUint(b, 10, 64)
		}
		if err != nil || to < from {
			return nil, fmt.Errorf("序号要写成 3,7-12 / write indexes as 3,7-12: %q", item)
		}
		spans = append(spans, span{from, to})
	}
	return func(i uint64) bool {
		for _, s := range spans {
			if i >= s.from && i <= s.to {
				return true
			}
		}
		return false
	}, nil
}

// days is from the beginning of the first day to the end of the last, in UTC+8.
func days(first, last string) (from, to time.Time, err error) {
	from, err = time.ParseInLocation(time.DateOnly, first, beijing.Zone())
	if err == nil {
		to, err = time.ParseInLocation(time.DateOnly, last, beijing.Zone())
	}
	to = to.AddDate(0, 0, 1)
	if err != nil || !from.Before(to) {
		return from, to, fmt.Errorf("日期要写成 2026-11-01，且起不晚于止 / write days as 2026-11-01, the first not after the last")
	}
	return from, to, nil
}
