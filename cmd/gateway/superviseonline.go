package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"yizheng/audit/supervise"
	"yizheng/catalog/beijing"
)

// superviseRemote are the flags of commands that ask a running gateway.
type superviseRemote struct{ url, ca, cert, key *string }

func superviseFlags(f *flag.FlagSet) superviseRemote {
	return superviseRemote{
		url:  f.String("url", "https://localhost:8443", "网关地址 / the gateway's address"),
		ca:   f.String("ca", "", "网关证书的 CA；不给则用系统的 / CA of the gateway's certificate; the machine's if missing"),
		cert: f.String("cert", "", "本人的 TLS 客户端证书 / your TLS client certificate"),
		key:  f.String("cert-key", "", "其私钥 / its private key"),
	}
}

func (r superviseRemote) open() (*remote, error) { return newRemote(*r.url, *r.ca, *r.cert, *r.key) }

const superviseExample = " -url https://localhost:8443 -ca var/demo/keys/tls/ca.crt -cert var/demo/keys/tls/admin-supervisor-1.crt -cert-key var/demo/keys/tls/admin-supervisor-1.key"

// superviseCards lists cards, or decides about one.
func superviseCards(ctx context.Context, args []string, out io.Writer) error {
	f := flags("supervise cards", "-cert FILE -cert-key FILE [-status raised] | -confirm ID | -dismiss ID -reason CODE", "gateway supervise cards"+superviseExample)
	r := superviseFlags(f)
	var q supervise.Filter
	f.StringVar((*string)(&q.Status), "status", "", "raised、confirmed、dismissed")
	f.StringVar((*string)(&q.Level), "level", "", "yellow、red")
	f.StringVar((*string)(&q.Kind), "kind", "", "timeliness、process、content、overreach、integrity")
	f.StringVar(&q.Department, "department", "", "部门 / department")
	f.StringVar(&q.From, "from", "", "起日 / first day")
	f.StringVar(&q.To, "to", "", "止日 / last day")
	confirm := f.String("confirm", "", "确认这张牌 / confirm this card")
	dismiss := f.String("dismiss", "", "撤销这张牌，须给 -reason / dismiss this card; needs -reason")
	reason := f.String("reason", "", "撤销原因 / reason of a dismissal: "+strings.Join(supervise.DismissReasons(), ", "))
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	g, err := r.open()
	if err != nil {
		return err
	}
	t := newCardTable(out)
	var one supervise.Card
	switch {
	case *confirm != "":
		err = g.call(ctx, http.MethodPost, "/v1/supervision/cards/"+url.PathEscape(*confirm)+"/confirm", nil, &one)
	case *dismiss != "":
		err = g.call(ctx, http.MethodPost, "/v1/supervision/cards/"+url.PathEscape(*dismiss)+"/dismiss", map[string]string{"reason": *reason}, &one)
	default:
		var list struct{ Cards []supervise.Card }
		if err := g.call(ctx, http.MethodPost, "/v1/supervision/cards", q, &list); err != nil {
			return err
		}
		for _, c := range list.Cards {
			t.add(c)
		}
		return t.out.Flush()
	}
	if err != nil {
		return err
	}
	t.add(one)
	return t.out.Flush()
}

// superviseOrders lists orders, or takes a step of one.
func superviseOrders(ctx context.Context, args []string, out io.Writer) error {
	f := flags("supervise orders", "-cert FILE -cert-key FILE [-mine] | -card ID -demand CODE -due DAY | -answer ID -code CODE | -return ID -due DAY | -close ID",
		"gateway supervise orders -card K7A… -demand EXPLAIN -due 2026-11-29 -text 请说明情况"+superviseExample)
	r := superviseFlags(f)
	var d supervise.Demand
	f.StringVar(&d.Card, "card", "", "为这张牌签发督办单 / issue an order for this card")
	f.StringVar(&d.Department, "department", "", "被督办部门，默认为牌上的 / department; default: the card's")
	f.StringVar(&d.Person, "person", "", "被督办人账号 / account that must answer")
	f.StringVar(&d.Demand, "demand", supervise.DemandExplain, strings.Join(supervise.Demands(), ", "))
	f.StringVar(&d.Due, "due", "", "答复期限，如 2026-11-29 / last day for an answer")
	f.StringVar(&d.Text, "text", "", "文字，不入日志，不得含证件号码 / text; stays out of the log; no ID numbers")
	mine := f.Bool("mine", false, "发给本人或本部门的 / those addressed to you")
	answer := f.String("answer", "", "答复这份督办单 / answer this order")
	code := f.String("code", "", strings.Join(supervise.Answers(), ", "))
	again := f.String("return", "", "退回重答，须给 -due / ask for another answer; needs -due")
	end := f.String("close", "", "办结 / close")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	g, err := r.open()
	if err != nil {
		return err
	}
	const base = "/v1/supervision/orders"
	var o supervise.Order
	var list struct{ Orders []supervise.Order }
	switch {
	case d.Card != "":
		err = g.call(ctx, http.MethodPost, base, d, &o)
	case *answer != "":
		err = g.call(ctx, http.MethodPost, "/v1/orders/"+url.PathEscape(*answer)+"/answer", map[string]string{"answer": *code, "text": d.Text}, &o)
	case *again != "":
		err = g.call(ctx, http.MethodPost, base+"/"+url.PathEscape(*again)+"/return", map[string]string{"due": d.Due, "text": d.Text}, &o)
	case *end != "":
		err = g.call(ctx, http.MethodPost, base+"/"+url.PathEscape(*end)+"/close", nil, &o)
	case *mine:
		err = g.call(ctx, http.MethodGet, "/v1/orders", nil, &list)
	default:
		err = g.call(ctx, http.MethodGet, base, nil, &list)
	}
	if err != nil {
		return err
	}
	if o.ID != "" {
		list.Orders = append(list.Orders, o)
	}
	return printOrders(out, list.Orders)
}

func printOrders(out io.Writer, orders []supervise.Order) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "督办单 order\t牌 card\t部门 department\t要求 demand\t期限 due\t状态 step\t答复 answer")
	for _, o := range orders {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", o.ID, o.Card, o.Department, o.Demand, o.Due, o.Step, dash(o.Answer))
		for _, s := range o.Steps {
			if s.Said != "" {
				fmt.Fprintf(w, "  %s %s：%s\n", s.At.In(beijing.Zone()).Format(time.DateTime), s.By, s.Said)
			}
		}
	}
	return w.Flush()
}

// superviseStats prints a table of statistics.
func superviseStats(ctx context.Context, args []string, out io.Writer) error {
	today := time.Now().In(beijing.Zone())
	f := flags("supervise stats", "-cert FILE -cert-key FILE [-by department] [-from DAY -to DAY] [-period day] [-o FILE.xlsx]", "gateway supervise stats -by source"+superviseExample)
	r := superviseFlags(f)
	by := f.String("by", "department", "department、item、source、operator")
	from := f.String("from", today.AddDate(0, -1, 0).Format(time.DateOnly), "起日 / first day")
	to := f.String("to", today.Format(time.DateOnly), "止日 / last day")
	period := f.String("period", "day", "day、month")
	file := f.String("o", "", "写成文件，以 .xlsx 或 .pdf 结尾 / write a file that ends in .xlsx or .pdf")
	asJSON := f.Bool("json", false, "输出 JSON / print JSON")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	g, err := r.open()
	if err != nil {
		return err
	}
	ask := map[string]string{"by": *by, "from": *from, "to": *to, "period": *period}
	const path = "/v1/supervision/statistics"
	if *file != "" {
		ask["format"] = strings.TrimPrefix(filepath.Ext(*file), ".")
		if ask["format"] != "xlsx" && ask["format"] != "pdf" {
			return fmt.Errorf("%s: 文件名须以 .xlsx 或 .pdf 结尾 / the name must end in .xlsx or .pdf", *file)
		}
		answer, err := g.fetch(ctx, http.MethodPost, path, ask)
		if err != nil {
			return err
		}
		return os.WriteFile(*file, answer, 0o600)
	}
	var t struct{ Lines []supervise.Line }
	if err := g.call(ctx, http.MethodPost, path, ask, &t); err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(out).Encode(t.Lines)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "期间 period\t"+*by+"\t请求 asked\t拒绝 refused\t成功 good\t失败 failed\t成功率 rate\tp50 ms\tp95 ms\t黄 yellow\t红 red")
	for _, l := range t.Lines {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%.1f%%\t%d\t%d\t%d\t%d\n", l.Period, l.Value, l.Asked, l.Refused, l.Good, l.Failed, 100*l.Rate, l.P50, l.P95, l.Yellow, l.Red)
	}
	return w.Flush()
}
