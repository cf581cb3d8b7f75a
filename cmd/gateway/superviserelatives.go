package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"yizheng/audit/supervise"
	"yizheng/catalog/beijing"
)

// superviseRelatives enters whom an operator may not look up, approves such a list by
// entering it again, or shows which there are. Numbers come from standard input or a
// file, never from the command line.
func superviseRelatives(ctx context.Context, args []string, out io.Writer) error {
	f := flags("supervise relatives", "-cert FILE -cert-key FILE [-operator ACCOUNT [-numbers FILE | -none] | -show ID | -approve ID [-numbers FILE | -none]]",
		"gateway supervise relatives -operator clerk-01"+superviseExample+" < numbers")
	r := superviseFlags(f)
	operator := f.String("operator", "", "为此账号登记全部须回避的人，替换原名单 / enter all whom this account may not look up, in place of its list")
	file := f.String("numbers", "-", "申报表上的全部号码，一行一个，- 为标准输入 / file of all numbers of the declaration, one a line; - is standard input")
	none := f.Bool("none", false, "申报为无，不读号码 / the declaration names nobody; no numbers are read")
	show := f.String("show", "", "看一份待批名单（批准人） / show a list that waits (approvers)")
	approve := f.String("approve", "", "批准一份名单：照申报表再录一遍号码（批准人） / approve a list: enter its numbers again from the declaration (approvers)")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	listed, entering := *none || *file != "-", *operator != "" || *approve != ""
	if given(*operator, *show, *approve) > 1 || *none && *file != "-" || listed && !entering {
		f.Usage()
		return errUsage
	}
	g, err := r.open()
	if err != nil {
		return err
	}
	const base = "/v1/supervision/relatives"
	var list struct {
		Declared []supervise.Relatives
		Waiting  []supervise.Proposal
	}
	var waiting supervise.Proposal
	var declared supervise.Relatives
	numbers := []string{}
	if entering && !*none {
		if numbers, err = declaredNumbers(*file); err != nil {
			return err
		}
	}
	switch {
	case *operator != "":
		err = g.call(ctx, http.MethodPost, base, map[string]any{"operator": *operator, "numbers": numbers}, &waiting)
		list.Waiting = append(list.Waiting, waiting)
	case *show != "":
		err = g.call(ctx, http.MethodGet, base+"/"+url.PathEscape(*show), nil, &waiting)
		list.Waiting = append(list.Waiting, waiting)
	case *approve != "":
		err = g.call(ctx, http.MethodPost, base+"/"+url.PathEscape(*approve)+"/approve", map[string]any{"numbers": numbers}, &declared)
		list.Declared = append(list.Declared, declared)
	default:
		err = g.call(ctx, http.MethodGet, base, nil, &list)
	}
	if err != nil {
		return err
	}
	return printRelatives(out, list.Declared, list.Waiting)
}

// declaredNumbers reads those of a declaration that names somebody. Nothing at all is
// more likely a mistake than a declaration, so it is not taken for one.
func declaredNumbers(file string) ([]string, error) {
	numbers, err := readNumbers(file)
	if err == nil && len(numbers) == 0 {
		err = errors.New("没有读到号码；申报为无的请用 -none / no number was read; if the declaration names nobody, say -none")
	}
	return numbers, err
}

// given counts the flags that are not empty.
func given(flags ...string) (n int) {
	for _, f := range flags {
		if f != "" {
			n++
		}
	}
	return n
}

func printRelatives(out io.Writer, declared []supervise.Relatives, waiting []supervise.Proposal) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "账号 account\t人数 persons\t状态 state\t登记 entered by\t批准 approved by\t时间 time")
	for _, d := range declared {
		state := "生效 / in force"
		if d.Stale {
			state = "须重新登记 / enter it again"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", d.Operator, d.Persons, state, d.By, d.Approver, d.At.In(beijing.Zone()).Format(time.DateTime))
	}
	for _, p := range waiting {
		fmt.Fprintf(w, "%s\t%d\t待批 / waits: %s\t%s\t-\t至 / until %s\n", p.Operator, p.Persons, p.ID, p.By, p.Expires.In(beijing.Zone()).Format(time.DateTime))
	}
	return w.Flush()
}
