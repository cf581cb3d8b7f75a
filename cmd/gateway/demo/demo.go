package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/catalog/beijing"
	"yizheng/cmd/gateway/setup"
	"yizheng/exchange"
	"yizheng/identity/jose"
	"yizheng/seal"
)

// Options of Run.
type Options struct {
	Places
	Out       string // where the documents go
	Item      string
	Situation string
	Cards     []string // people of people.yaml, in the order of the situation's roles
	Once      bool     // end after the documents are verified
}

// ErrNotVerified is returned when a document or the log did not verify.
var ErrNotVerified = errors.New("有文书或审计日志未通过核验 / a document or the audit log did not verify")

// Run starts the city, exchanges one matter's proofs, writes and verifies the
// documents, and, unless Once, serves until ctx ends.
func Run(ctx context.Context, o Options, w io.Writer) (err error) {
	cat, err := catalog.Load(filepath.Join(o.Configs, "catalog"), catalog.Options{})
	if err != nil {
		return err
	}
	c, item, situation, err := chosen(cat, o)
	if err != nil {
		return err
	}
	if err := checkCards(o.Configs, o.Cards); err != nil {
		return err
	}
	fmt.Fprintf(w, "一证 · %s · %s（%s）\n", cat.City.Name, item.Name, situation.Name)
	began := time.Now()
	city, err := Start(ctx, o.Places)
	defer func() { err = errors.Join(err, city.Stop()) }()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "城市已启动：省平台、网关、见证、前置机 ×%d（网闸后 %d）、读卡代理 ×%d（目录发布 %d，%s）\n",
		len(cat.Fronts), len(setup.FrontsBehindGap(cat)), len(workstations), city.Release, round(time.Since(began)))
	exchange, ok, err := exchangeOnce(ctx, city, c, o.Out, w)
	if err != nil {
		return err
	}
	if !o.Once {
		fmt.Fprintf(w, "\n继续服务 / serving: %s   接口 %s/openapi.json   Ctrl-C 停止\n", city.URL, city.URL)
		if err := city.Watch(ctx); err != nil {
			return err
		}
	}
	if err := city.Stop(); err != nil { // the log is complete only once its process has closed it
		return err
	}
	if !city.verifyLogs(context.WithoutCancel(ctx), w) || !ok {
		return ErrNotVerified
	}
	fmt.Fprintf(w, "  全部路径 / the whole path：gateway audit path -config %s -front %s %s\n", city.in("gateway.yaml"), city.frontLogs(), exchange)
	return nil
}

// chosen is the case the options name.
func chosen(cat *catalog.Catalogue, o Options) (Case, catalog.Item, catalog.Situation, error) {
	item, ok := cat.Item(catalog.ItemCode(o.Item))
	if !ok {
		var codes []string
		for _, i := range cat.Items {
			codes = append(codes, string(i.Code)+" "+i.Name)
		}
		return Case{}, item, catalog.Situation{}, fmt.Errorf("没有事项 %q，可选 / no such item, there are: %s", o.Item, strings.Join(codes, "；"))
	}
	situation := item.Situations[0]
	if o.Situation != "" {
		if situation, ok = item.Situation(catalog.SituationCode(o.Situation)); !ok {
			var codes []string
			for _, s := range item.Situations {
				codes = append(codes, string(s.Code)+" "+s.Name)
			}
			return Case{}, item, situation, fmt.Errorf("事项 %s 没有情形 %q，可选 / the item has no such situation, there are: %s", o.Item, o.Situation, strings.Join(codes, "；"))
		}
	}
	roles := item.RolesIn(situation)
	if len(o.Cards) != len(roles) {
		return Case{}, item, situation, fmt.Errorf("情形“%s”需要 %d 张卡 %v，用 -card a,b 给出样例人物 / this situation needs %d cards, name the persons with -card", situation.Name, len(roles), roles, len(roles))
	}
	c := Case{Item: o.Item, Situation: string(situation.Code), Purpose: item.Purposes[0]}
	for i, role := range roles {
		c.Cards = append(c.Cards, Card{Role: string(role), Person: o.Cards[i]})
	}
	return c, item, situation, nil
}

// checkCards: every person is a sample person and has a card.
func checkCards(configs string, persons []string) error {
	b, err := os.ReadFile(filepath.Join(configs, "people.yaml"))
	if err != nil {
		return err
	}
	var file struct {
		People []struct {
			ID   string `yaml:"id"`
			Card *bool  `yaml:"card"`
		} `yaml:"people"`
	}
	if err := yaml.Unmarshal(b, &file); err != nil { // its other keys are for the simulators
		return fmt.Errorf("people.yaml: %s", yaml.FormatError(err, false, false))
	}
	var ids []string
	without := make(map[string]bool)
	for _, p := range file.People {
		if without[p.ID] = p.Card != nil && !*p.Card; !without[p.ID] {
			ids = append(ids, p.ID)
		}
	}
	for i, p := range persons {
		switch {
		case slices.Contains(persons[:i], p):
			return fmt.Errorf("样例人物 %q 出现两次 / the same person twice", p)
		case without[p]:
			return fmt.Errorf("样例人物 %q 没有身份证，不能刷卡 / has no card to read", p)
		case !slices.Contains(ids, p):
			return fmt.Errorf("没有样例人物 %q，可选 / no such sample person, there are: %s", p, strings.Join(ids, " "))
		}
	}
	return nil
}

// exchangeOnce does one case as a clerk does, with the progress table, and returns
// the exchange's number.
func exchangeOnce(ctx context.Context, city *City, c Case, out string, w io.Writer) (number string, good bool, err error) {
	clerk, err := city.Login(ctx)
	if err != nil {
		return "", false, fmt.Errorf("login: %w", err)
	}
	caseNo := "SJ-" + time.Now().In(beijing.Zone()).Format("20060102-150405")
	began := time.Now()
	tokens, err := clerk.Read(ctx, c, caseNo)
	if err != nil {
		return "", false, err
	}
	fmt.Fprintf(w, "已读卡 %d 张，人证一致，凭据已签发（%s）\n\n", len(tokens), round(time.Since(began)))
	began = time.Now()
	a, err := clerk.Begin(ctx, c, caseNo, tokens)
	if err != nil {
		return "", false, err
	}
	t := newTable(w, a.Parts)
	if err := clerk.Follow(ctx, a.Exchange, t.seen); err != nil {
		return "", false, fmt.Errorf("progress: %w", err)
	}
	if a, err = clerk.Fetch(ctx, a.Exchange); err != nil {
		return "", false, err
	}
	t.finish(a.Parts, time.Since(began))
	if a.Sufficient != nil && *a.Sufficient {
		fmt.Fprintln(w, "材料已齐：必选证明均已取得。")
	} else {
		fmt.Fprintln(w, "材料未齐：请按上列提示办理。")
	}
	if good, err = city.collect(ctx, clerk, a, out, w); err != nil {
		return a.Exchange, false, err
	}
	seen, err := city.tellUsages(ctx, clerk, tokens[0], began, w)
	return a.Exchange, good && seen, err
}

// collect fetches, writes and verifies every part's result.
func (c *City) collect(ctx context.Context, clerk *Clerk, a Answer, out string, w io.Writer) (bool, error) {
	if err := errors.Join(os.MkdirAll(out, 0o700), clearOut(out)); err != nil {
		return false, err
	}
	key, err := jose.ReadPublicKey(c.in("keys/audit.pub.pem"))
	if err != nil {
		return false, err
	}
	trust, err := seal.LoadTrust(c.in("trust"))
	if err != nil {
		return false, err
	}
	if err := saveState(out, a.View); err != nil {
		return false, err
	}
	good := true
	fmt.Fprintln(w)
	for _, p := range a.Parts {
		r, err := clerk.Result(ctx, a.Exchange, p.Part)
		if err != nil {
			return false, fmt.Errorf("%s: %w", p.Part, err)
		}
		if err := save(out, r); err != nil {
			return false, err
		}
		checks := []check{{"收据", receiptHolds(r.Receipt, key)}}
		if r.Document != nil {
			report := seal.Verify(r.Document, trust, time.Now())
			matches, err := c.Verify(ctx, r.Document)
			if err != nil {
				return false, err
			}
			checks = append(checks, check{"八项核验", report.Overall}, check{"签发记录", receiptHolds(r.IssueReceipt, key)}, check{"公开查验", matches})
		}
		line := ""
		for _, k := range checks {
			mark := "✓"
			if !k.ok {
				mark, good = "✗", false
			}
			line += "  " + mark + " " + k.what
		}
		fmt.Fprintf(w, "  %s%s%s\n", pad(r.Part, 13), line, files(out, r))
	}
	return good, nil
}

type check struct {
	what string
	ok   bool
}

// files names what was written for a result.
func files(out string, r exchange.Result) string {
	base := filepath.Join(out, fileName(r.Part))
	switch {
	case r.Document != nil && r.Data != "":
		return "  → " + base + ".pdf .json"
	case r.Document != nil:
		return "  → " + base + ".pdf"
	case r.Data != "":
		return "  → " + base + ".json"
	}
	return ""
}

func fileName(part string) string { return strings.ReplaceAll(part, "@", "-") }

// saveState writes what came of every part, for gateway bundle -exchange.
func saveState(out string, v exchange.View) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "exchange.json"), b, 0o600)
}

// save writes document, data and receipts of one result. File names carry the proof's code and the role, nothing personal.
func save(out string, r exchange.Result) error {
	base := filepath.Join(out, fileName(r.Part))
	list := map[string][]byte{".receipt": []byte(r.Receipt)}
	if r.Document != nil {
		list[".pdf"] = r.Document
	}
	if r.Data != "" {
		data, err := jose.Unverified(r.Data)
		if err != nil {
			return err
		}
		list[".json"], list[".jws"] = data, []byte(r.Data)
	}
	for ext, b := range list {
		if err := os.WriteFile(base+ext, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// verifyLogs runs the offline auditor over the closed logs: the gateway's, and each front processor's own.
func (c *City) verifyLogs(ctx context.Context, w io.Writer) bool {
	good := c.verifyLog(ctx, w, "审计日志", "audit", "keys/audit.pub.pem")
	good = c.verifyWitnessed(ctx, w) && good
	for _, f := range c.catalogue.Fronts {
		own := "fronts/" + string(f.ID)
		good = c.verifyLog(ctx, w, "前置机 "+string(f.ID)+" 的审计日志", own+"/audit", own+"/audit-key.pub.pem") && good
	}
	return good
}

// verifyLog verifies the newest shard of one log.
func (c *City) verifyLog(ctx context.Context, w io.Writer, name, dir, keyFile string) bool {
	r, err := func() (audit.Report, error) {
		key, err := jose.ReadPublicKey(c.in(keyFile))
		if err != nil {
			return audit.Report{}, err
		}
		entries, err := os.ReadDir(c.in(dir))
		if err != nil {
			return audit.Report{}, err
		}
		slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(b.Name(), a.Name()) })
		if len(entries) == 0 {
			return audit.Report{}, fs.ErrNotExist
		}
		return audit.VerifyDir(ctx, filepath.Join(c.in(dir), entries[0].Name()), verifyOptions(key))
	}()
	if err != nil {
		fmt.Fprintf(w, "  ✗ %s：%v\n", name, err)
		return false
	}
	fmt.Fprintf(w, "  ✓ %s %d 条，%d 批，逐字节核验通过\n", name, r.Entries, r.Frames)
	return true
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
