package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"yizheng/audit/search"
	"yizheng/catalog"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// carried are the flags of logs that were carried to the auditor, and of the
// roster that says whose they are and with which keys they are signed.
type carried struct{ config, logs, roster, security *string }

func carriedFlags(f *flag.FlagSet) carried {
	return carried{
		f.String("config", "", "网关配置：不询问网关，以其审计目录、名册与目录发布核对 / the gateway's configuration: its log's directory, roster and releases are used, and no gateway is asked"),
		f.String("front", "", "带来的日志：目录或 gateway audit export 按时间导出的文件，逗号分隔 / logs that were carried here: directories, or files that gateway audit export made of a range of time; comma separated"),
		f.String("roster", "", "名册文件；有 -config 时不必给 / the roster; not needed with -config"),
		f.String("security", "", "两名安全管理员的公钥文件，逗号分隔，用来核验名册 / files with the keys of the security administrators, which verify the roster"),
	}
}

// auditPath shows one exchange through all logs. It ends with 1 if the sides differ.
func auditPath(ctx context.Context, args []string, out io.Writer) error {
	f := flags("audit path", "(-cert FILE -cert-key FILE [-roster FILE -security FILE,FILE -front LIST] | -config FILE [-front LIST]) EXCHANGE",
		"gateway audit path -config var/demo/gateway.yaml -front var/demo/fronts/hr-front/audit,police.json 20261122008Q2V6JZ4TXQ")
	c, here := callerFlags(f), carriedFlags(f)
	asJSON := f.Bool("json", false, "输出 JSON / print JSON")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	var a search.Answer
	var err error
	if *here.config != "" {
		a, err = here.offline(ctx, f.Arg(0))
	} else {
		a, err = here.online(ctx, c, f.Arg(0))
	}
	if err != nil {
		return err
	}
	if err := printAnswer(out, a, *asJSON); err != nil {
		return err
	}
	if a.Reading != nil && !a.Reading.Balanced() {
		return errNo
	}
	return nil
}

func (c carried) list() []string {
	if *c.logs == "" {
		return nil
	}
	return strings.Split(*c.logs, ",")
}

// offline reads the path out of the gateway's own directory and what was carried.
func (c carried) offline(ctx context.Context, exchange string) (search.Answer, error) {
	conf, err := readConfig(*c.config)
	if err != nil {
		return search.Answer{}, err
	}
	persons, err := conf.persons()
	if err != nil {
		return search.Answer{}, err
	}
	roster, err := conf.Search.roster(conf.Origin, persons)
	if err != nil {
		return search.Answer{}, err
	}
	if roster == nil {
		return search.Answer{}, errors.New("配置中没有 search.roster / the configuration names no search.roster")
	}
	release, err := conf.Catalog.Open(time.Now())
	if err != nil {
		return search.Answer{}, err
	}
	a, err := roster.Carried(ctx, exchange, append([]string{conf.Audit.Dir}, c.list()...))
	if err != nil {
		return a, err
	}
	m := roster.Reconciled(a, frontOf(release.Catalogue))
	a.Reading = &m
	return a, nil
}

// frontOf tells the front through which a source is asked.
func frontOf(c *catalog.Catalogue) func(string) string {
	return func(source string) string {
		s, _ := c.Source(catalog.SourceID(source))
		return string(s.Front)
	}
}

// online asks the gateway, and holds what was carried against its answer.
func (c carried) online(ctx context.Context, who caller, exchange string) (search.Answer, error) {
	var a search.Answer
	gateway, err := who.remote()
	if err != nil {
		return a, err
	}
	if err := gateway.call(ctx, http.MethodGet, "/v1/audit/exchanges/"+url.PathEscape(exchange), nil, &a); err != nil {
		return a, err
	}
	paths := c.list()
	if len(paths) == 0 || a.Reading == nil {
		return a, nil
	}
	roster, err := c.pinnedRoster()
	if err != nil {
		return a, err
	}
	brought, err := roster.Carried(ctx, exchange, paths, a.Rows...)
	if err != nil {
		return a, err
	}
	fronts := make(map[string]string) // as the gateway says, which knows the catalogue
	for _, legs := range [][]search.Leg{a.Reading.Both, a.Reading.Unanswered, a.Reading.Unchecked} {
		for _, l := range legs {
			fronts[l.Source] = l.Front
		}
	}
	a = a.With(brought)
	m := roster.Reconciled(a, func(source string) string { return fronts[source] })
	a.Reading = &m
	return a, nil
}

// pinnedRoster verifies the roster with the security administrators' keys.
func (c carried) pinnedRoster() (search.Roster, error) {
	if *c.roster == "" || *c.security == "" {
		return search.Roster{}, errors.New("-front 须与 -roster、-security 或 -config 一并给出 / give -roster and -security, or -config, with -front")
	}
	var persons []staff.Person
	for file := range strings.SplitSeq(*c.security, ",") {
		key, err := jose.ReadPublicKey(file)
		if err != nil {
			return search.Roster{}, fmt.Errorf("-security: %w", err)
		}
		persons = append(persons, staff.Person{Name: fmt.Sprintf("security-%d", len(persons)+1), Role: staff.Security, Key: key})
	}
	register, err := staff.NewRegister(persons)
	if err != nil {
		return search.Roster{}, fmt.Errorf("-security: %w", err)
	}
	data, err := os.ReadFile(*c.roster)
	if err != nil {
		return search.Roster{}, fmt.Errorf("-roster: %w", err)
	}
	r, _, err := search.OpenRoster(data, register)
	return r, err
}
