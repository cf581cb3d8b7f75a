package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/supervise"
	"yizheng/catalog/beijing"
)

// superviseCommand holds the tools of supervision.
func superviseCommand(ctx context.Context, args []string, out io.Writer) error {
	subs := map[string]func(context.Context, []string, io.Writer) error{"rules": superviseRules, "replay": superviseReplay,
		"cards": superviseCards, "orders": superviseOrders, "stats": superviseStats, "relatives": superviseRelatives}
	if len(args) > 0 {
		if run, ok := subs[args[0]]; ok {
			return run(ctx, args[1:], out)
		}
	}
	fmt.Fprintln(out, `gateway supervise rules check  检查监察规则，指出每处错误的文件与行 / check the rules, point at file and line of every mistake
gateway supervise replay       用一套规则试判一份日志，不写任何记录 / try rules on a log; nothing is recorded
gateway supervise cards        红黄牌：查看、确认、撤销 / cards: list, confirm, dismiss
gateway supervise orders       督办单：签发、答复、退回、办结 / orders: issue, answer, return, close
gateway supervise stats        统计 / statistics
gateway supervise relatives    操作员须回避的人（亲属）：登记、批准 / whom an operator may not look up: enter, approve`)
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		return nil
	}
	return errUsage
}

// superviseRules checks a directory of rules.
func superviseRules(_ context.Context, args []string, out io.Writer) error {
	f := flags("supervise rules check", "DIR", "gateway supervise rules check configs/demo/supervise")
	if len(args) == 0 || args[0] != "check" {
		f.Usage()
		return errUsage
	}
	if err := parse(f, args[1:], 1, 1); err != nil {
		return err
	}
	rules, err := supervise.Load(f.Arg(0))
	var problems supervise.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintln(out, p)
		}
		fmt.Fprintf(out, "%d 处错误 / mistakes\n", len(problems))
		return errNo
	}
	if err != nil {
		return err
	}
	n := 0
	for _, in := range rules.Indicators {
		fmt.Fprintf(out, "%s（%s）%d 条 / rules\n", in.Name, in.NameEN, len(in.Rules))
		n += len(in.Rules)
	}
	fmt.Fprintf(out, "没有错误 / no mistakes: %d 项指标 indicators，%d 条规则 rules\n", len(rules.Indicators), n)
	return nil
}

// superviseReplay tries rules on a log that lies on disk.
func superviseReplay(_ context.Context, args []string, out io.Writer) error {
	f := flags("supervise replay", "-rules DIR -catalog DIR -dir DIR -key FILE",
		"gateway supervise replay -rules configs/demo/supervise -catalog configs/demo/catalog -dir var/demo/audit -key var/demo/keys/audit.pub.pem")
	dir := f.String("dir", "var/demo/audit", "日志目录：各季度的上级 / the log's directory, above the quarters")
	key := f.String("key", "var/demo/keys/audit.pub.pem", "日志公钥，逗号分隔 / the log's public keys")
	rulesDir := f.String("rules", "configs/demo/supervise", "规则目录 / directory of the rules")
	catalogDir := f.String("catalog", "configs/demo/catalog", "目录 YAML，取承诺时限与事项清单 / the catalogue's YAML, for promised times and matters")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	rules, err := supervise.Load(*rulesDir)
	if err != nil {
		return err
	}
	c, err := loadCatalogue(*catalogDir, "")
	if err != nil {
		return err
	}
	keys, err := auditor.Keys(*key)
	if err != nil {
		return err
	}
	shards, err := auditor.Shards(*dir)
	if err != nil {
		return err
	}
	t := newCardTable(out)
	for _, shard := range shards { // each for itself: what slides over the turn of a quarter is missed
		origin, err := audit.ReadOrigin(filepath.Join(*dir, shard), keys...)
		if err != nil {
			return err
		}
		replay := supervise.NewReplay(rules, factsOf(c, "replay"), origin, t.add)
		err = audit.Each(filepath.Join(*dir, shard), func(s audit.Stored) error {
			t.entries++
			replay.Read(s)
			return nil
		}, keys...)
		if err != nil {
			return err
		}
	}
	return t.end()
}

// cardTable prints cards as they come.
type cardTable struct {
	out                  *tabwriter.Writer
	entries, yellow, red int
}

func newCardTable(out io.Writer) *cardTable {
	t := &cardTable{out: tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)}
	fmt.Fprintln(t.out, "编号 id\t时间 time\t牌 card\t状态 status\t规则 rule\t操作员 operator\t部门 department\t来源 source\t办理号 exchange\t记录 entry")
	return t
}

func (t *cardTable) add(c supervise.Card) {
	level := "黄"
	if c.Level == supervise.Red {
		level, t.red = "红", t.red+1
	} else {
		t.yellow++
	}
	department := c.Department
	if c.To == supervise.ToProvider && c.Provider != "" {
		department = c.Provider
	}
	fmt.Fprintf(t.out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", c.ID, c.Time.In(beijing.Zone()).Format(time.DateTime), level, c.Status, c.Rule, dash(c.Operator), dash(department),
		dash(c.Source), dash(c.Exchange), c.Evidence[len(c.Evidence)-1].Index)
}

func (t *cardTable) end() error {
	fmt.Fprintf(t.out, "读过 %d 条记录：黄牌 %d，红牌 %d / %d entries: %d yellow, %d red\n", t.entries, t.yellow, t.red, t.entries, t.yellow, t.red)
	return t.out.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
