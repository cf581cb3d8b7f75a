package main

import (
	"context"
	"fmt"
	"io"

	"yizheng/audit/ship"
)

// auditSchema prints the tables for copies in PostgreSQL.
func auditSchema(_ context.Context, args []string, out io.Writer) error {
	f := flags("audit schema", "", "gateway audit schema | psql -d audit")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	_, err := io.WriteString(out, ship.Schema)
	return err
}

// auditCopies prints how far each copy of the log is.
func auditCopies(_ context.Context, args []string, out io.Writer) error {
	f := flags("audit copies", "-dir DIR", "gateway audit copies -dir var/demo/audit-ship")
	dir := f.String("dir", "var/demo/audit-ship", "audit.ship_dir 所指目录 / the directory of audit.ship_dir")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	list, err := ship.Cursors(*dir)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%s 里没有副本的进度：未配置 audit.ship，或尚未送出一条 / holds no cursor: audit.ship is not configured, or nothing was taken yet", *dir)
	}
	for _, s := range list {
		fmt.Fprintf(out, "%s\t%s\t已送达 %d 条 / entries taken\n", s.Name, s.Origin, s.Next)
	}
	return nil
}
