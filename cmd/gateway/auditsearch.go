package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"yizheng/audit/search"
	"yizheng/catalog/beijing"
	"yizheng/identity/jose"
)

// caller are the flags of commands that ask a running gateway with a certificate.
type caller struct{ url, ca, cert, certKey *string }

func callerFlags(f *flag.FlagSet) caller {
	return caller{f.String("url", "https://localhost:8443", "网关地址 / the gateway's address"),
		f.String("ca", "", "网关证书的 CA；不给则用系统的 / CA of the gateway's certificate; the machine's if missing"),
		f.String("cert", "", "办理人的 TLS 客户端证书 / TLS client certificate of the person who acts"),
		f.String("cert-key", "", "其私钥 / its private key")}
}

func (c caller) remote() (*remote, error) {
	if *c.cert == "" || *c.certKey == "" {
		return nil, errors.New("须用 -cert、-cert-key 给出本人的客户端证书 / give your client certificate with -cert and -cert-key")
	}
	return newRemote(*c.url, *c.ca, *c.cert, *c.certKey)
}

const searchExample = "gateway audit search -ca ca.crt -cert admin-audit.crt -cert-key admin-audit.key -item PRH -from 2026-11-01"

// auditSearch asks for entries by codes, or by an approved application for persons.
func auditSearch(ctx context.Context, args []string, out io.Writer) error {
	f := flags("audit search", "-cert FILE -cert-key FILE [filters] [-application ID]", searchExample)
	c := callerFlags(f)
	var ask search.Ask
	for name, into := range map[string]*string{"op": &ask.Filter.Op, "phase": &ask.Filter.Phase, "outcome": &ask.Filter.Outcome, "department": &ask.Filter.Department,
		"system": &ask.Filter.System, "operator": &ask.Filter.Operator, "workstation": &ask.Filter.Workstation, "item": &ask.Filter.Item, "proof": &ask.Filter.Proof,
		"case": &ask.Filter.Case, "provider": &ask.Filter.Provider, "source": &ask.Filter.Source, "exchange": &ask.Filter.Exchange, "number": &ask.Filter.Number} {
		f.StringVar(into, name, "", "检索条件（编码） / filter, a code")
	}
	from := f.String("from", "", "起（含） / from, inclusive: 2026-11-01 or RFC 3339")
	to := f.String("to", "", "止（不含） / to, exclusive")
	f.BoolVar(&ask.Everywhere, "everywhere", false, "名册上的所有日志 / every log on the roster")
	f.BoolVar(&ask.Proofs, "proofs", false, "附包含证明（见 -json） / with inclusion proofs (see -json)")
	f.IntVar(&ask.Limit, "limit", 100, "至多条数 / at most so many")
	application := f.String("application", "", "已获批准的按人检索申请编号：取票据并检索 / id of an approved application: takes its ticket and searches")
	asJSON := f.Bool("json", false, "输出 JSON / print JSON")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	var err error
	if ask.Filter.From, err = moment(*from); err != nil {
		return err
	}
	if ask.Filter.To, err = moment(*to); err != nil {
		return err
	}
	gateway, err := c.remote()
	if err != nil {
		return err
	}
	if *application != "" {
		var t struct{ Ticket string }
		if err := gateway.call(ctx, http.MethodPost, "/v1/audit/applications/"+url.PathEscape(*application)+"/ticket", nil, &t); err != nil {
			return err
		}
		ask.Ticket = t.Ticket
	}
	var a search.Answer
	if err := gateway.call(ctx, http.MethodPost, "/v1/audit/search", ask, &a); err != nil {
		return err
	}
	return printAnswer(out, a, *asJSON)
}

// moment reads a day (in Beijing) or a time; "" is none.
func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, beijing.Zone()); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q 不是日期或时间，例如 2026-11-01 / not a day or RFC 3339 time", s)
	}
	return t, nil
}

func printAnswer(out io.Writer, a search.Answer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(a)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "时间\t日志\t序号\t操作\t阶段\t结果\t部门\t事项\t证明\t分支\t操作员")
	for _, r := range a.Rows {
		o, c := r.Entry.Open, r.Entry.Closed
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", time.UnixMicro(o.Time).In(beijing.Zone()).Format("2006-01-02 15:04:05.000"), r.Origin, r.Index,
			o.Op, o.Phase, o.Outcome, o.Department, o.Item, o.Proof, o.Leg, c.Actor)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "共 %d 条 / entries\n", len(a.Rows))
	if a.Record != "" {
		fmt.Fprintf(out, "本次检索记录 / recorded as %s\n", a.Record)
	}
	for _, l := range a.Logs {
		if l.Chinese != "" {
			fmt.Fprintf(out, "! %s %s：%s / %s\n", l.Name, l.Origin, l.Chinese, l.English)
		}
	}
	if a.Reading == nil {
		return nil
	}
	fmt.Fprintf(out, "双边对账 / both sides：一致 %d\n", len(a.Reading.Both))
	for _, side := range []struct {
		what string
		legs []search.Leg
	}{{"✗ 仅网关有记录 / gateway only", a.Reading.Unanswered}, {"✗ 仅前置机有记录 / front only", a.Reading.Unasked}, {"? 未能核对 / unchecked", a.Reading.Unchecked}} {
		for _, l := range side.legs {
			fmt.Fprintf(out, "%s：%s %s %s（%s）\n", side.what, l.Leg, l.Source, l.Outcome, l.Front)
		}
	}
	return nil
}

// auditApply applies to look for persons. Their numbers come from standard input
// or a file, one a line, never from the command line.
func auditApply(ctx context.Context, args []string, out io.Writer) error {
	f := flags("audit apply", "-cert FILE -cert-key FILE -key FILE -case NO -reason CODE -from DAY -to DAY [-numbers FILE]",
		"gateway audit apply -ca ca.crt -cert admin-audit.crt -cert-key admin-audit.key -key audit.key -case XF-2026-17 -reason COMPLAINT -from 2026-10-01 -to 2027-01-01 < numbers")
	c := callerFlags(f)
	key := f.String("key", "", "本人的 SM2 私钥，用来签申请 / your SM2 private key, which signs the application")
	pass := f.String("passphrase", "", "该私钥的口令文件 / file with its passphrase")
	caseNo := f.String("case", "", "案件编号 / case number")
	reason := f.String("reason", "", "原因代码 / reason: "+strings.Join(search.Reasons(), ", "))
	from := f.String("from", "", "起（含） / from, inclusive")
	to := f.String("to", "", "止（不含） / to, exclusive")
	most := f.Int("max", 1000, "至多条数 / at most so many entries")
	file := f.String("numbers", "-", "号码文件，一行一个，- 为标准输入 / file of numbers, one a line; - is standard input")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	a := search.Application{Case: *caseNo, Reason: *reason, Max: *most, At: time.Now()}
	var err error
	if a.From, err = moment(*from); err != nil {
		return err
	}
	if a.To, err = moment(*to); err != nil {
		return err
	}
	numbers, err := readNumbers(*file)
	if err != nil {
		return err
	}
	gateway, err := c.remote()
	if err != nil {
		return err
	}
	person, err := jose.ReadKey(*key, *pass)
	if err != nil {
		return err
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails (crypto/rand, Go 1.24)
	a.Persons, a.Subjects = len(numbers), search.Commit(salt, numbers)
	statement, err := a.Sign(person)
	if err != nil {
		return err
	}
	var v search.View
	body := map[string]any{"statement": statement, "numbers": numbers, "salt": base64.StdEncoding.EncodeToString(salt)}
	if err := gateway.call(ctx, http.MethodPost, "/v1/audit/applications", body, &v); err != nil {
		return err
	}
	printApplication(out, v)
	return nil
}

func readNumbers(name string) ([]string, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			var at *fs.PathError
			if errors.As(err, &at) {
				err = at.Err // without the name, which may be a number that was given in place of one
			}
			return nil, fmt.Errorf("号码文件打不开（-numbers 写文件名，不写号码） / cannot open the file of numbers (-numbers takes its name, not a number): %w", err)
		}
		defer f.Close() // only read
		in = f
	}
	var list []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if n := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff")); n != "" {
			list = append(list, n)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("号码须一行一个 / give one number a line: %w", err)
	}
	return list, nil
}

// auditApprove approves or rejects an application, or without one lists those there are.
func auditApprove(ctx context.Context, args []string, out io.Writer) error {
	f := flags("audit approve", "-cert FILE -cert-key FILE [-key FILE [-reject] ID]",
		"gateway audit approve -ca ca.crt -cert admin-approver-1.crt -cert-key admin-approver-1.key -key approver-1.key ID")
	c := callerFlags(f)
	key := f.String("key", "", "本人的 SM2 私钥，用来签决定 / your SM2 private key, which signs the decision")
	pass := f.String("passphrase", "", "该私钥的口令文件 / file with its passphrase")
	reject := f.Bool("reject", false, "驳回 / reject")
	if err := parse(f, args, 0, 1); err != nil {
		return err
	}
	gateway, err := c.remote()
	if err != nil {
		return err
	}
	if f.NArg() == 0 {
		var list struct{ Applications []search.View }
		if err := gateway.call(ctx, http.MethodGet, "/v1/audit/applications", nil, &list); err != nil {
			return err
		}
		for _, v := range list.Applications {
			printApplication(out, v)
		}
		return nil
	}
	person, err := jose.ReadKey(*key, *pass)
	if err != nil {
		return err
	}
	path := "/v1/audit/applications/" + url.PathEscape(f.Arg(0))
	var v search.View
	if err := gateway.call(ctx, http.MethodGet, path, nil, &v); err != nil {
		return err
	}
	action := search.Approve
	if *reject {
		action = search.Reject
	}
	statement, err := v.Decision(action, time.Now()).Sign(person)
	if err != nil {
		return err
	}
	if err := gateway.call(ctx, http.MethodPost, path+"/decisions", map[string]string{"statement": statement}, &v); err != nil {
		return err
	}
	printApplication(out, v)
	return nil
}

func printApplication(out io.Writer, v search.View) {
	states := map[search.State]string{search.Pending: "待批准 / pending", search.Approved: "已批准 / approved", search.Rejected: "已驳回 / rejected", search.Ticketed: "已发票据 / ticket issued"}
	fmt.Fprintf(out, "%s  %s\n  申请人 / by %s，案件 / case %s，%s，%d 人 / persons，%s 至 / to %s，至多 / at most %d；已批准 / approved by %s\n", v.ID, states[v.State],
		v.Applicant, v.Case, v.Reason, v.Persons, v.From.In(beijing.Zone()).Format(time.DateTime), v.To.In(beijing.Zone()).Format(time.DateTime), v.Max, strings.Join(v.Approvers, "、"))
	for _, e := range v.Elsewhere {
		state := "未持有，结果将不完整 / does not hold it, the answer will be incomplete: " + string(e.State)
		if e.List != "" {
			state = "已持有 / holds it"
		}
		fmt.Fprintf(out, "  %s  %s\n", e.Origin, state)
	}
}

// auditRoster makes, signs and shows the roster of logs.
func auditRoster(_ context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "sign":
			return rosterSign(args[1:], out)
		case "show":
			return rosterShow(args[1:], out)
		}
	}
	fmt.Fprintln(out, "gateway audit roster sign|show -h")
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		return nil
	}
	return errUsage
}

// rosterSign adds one security administrator's signature. An unsigned roster is
// the JSON of docs/protocol/audit-search.md.
func rosterSign(args []string, out io.Writer) error {
	f := flags("audit roster sign", "-key FILE ROSTER", "gateway audit roster sign -key security-1.key roster.json")
	key := f.String("key", "", "安全管理员私钥 / the security administrator's private key")
	pass := f.String("passphrase", "", "口令文件 / file with the passphrase")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	k, err := jose.ReadKey(*key, *pass)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(f.Arg(0))
	if err != nil {
		return err
	}
	m, err := draftRoster(data)
	if err != nil {
		return err
	}
	if err := m.AddSignature(k, search.TypeRoster); err != nil {
		return err
	}
	if data, err = m.Marshal(); err != nil {
		return err
	}
	if err := os.WriteFile(f.Arg(0), data, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "已签 / signed: %s（%s）\n", f.Arg(0), k.ID())
	return nil
}

// draftRoster reads a roster that is signed already, or one that nobody has signed.
func draftRoster(data []byte) (*jose.MultiSigned, error) {
	if _, m, err := search.ParseRoster(data); err == nil {
		return m, nil
	}
	var r search.Roster
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("名册读不懂 / roster: %w", err)
	}
	return search.NewRoster(r)
}

func rosterShow(args []string, out io.Writer) error {
	f := flags("audit roster show", "ROSTER", "gateway audit roster show roster.json")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	data, err := os.ReadFile(f.Arg(0))
	if err != nil {
		return err
	}
	r, _, err := search.ParseRoster(data)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "名册 / roster %d，%s（签名由网关核验 / the gateway verifies who signed）\n", r.Number, r.Created.In(beijing.Zone()).Format(time.DateTime))
	for _, l := range r.Logs {
		where := l.URL
		if l.Isolated {
			where = "隔离网络 / isolated"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Origin, l.Kind, l.Name, l.Department, where)
	}
	return w.Flush()
}
