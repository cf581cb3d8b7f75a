package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"yizheng/audit"
	"yizheng/audit/supervise"
	"yizheng/catalog"
	"yizheng/cmd/internal/assembly"
)

// SuperviseConfig of the supervision of the exchange itself (docs/SUPERVISION.md).
type SuperviseConfig struct {
	Rules string `yaml:"rules"` // directory of the rules, one file an indicator
	Dir   string `yaml:"dir"`   // of its snapshot, and of the texts of orders; default: supervise, beside the log
	// Scan is how often the log is looked at; default 2s. A rule's own scan says
	// how often it looks for what has not happened.
	Scan time.Duration `yaml:"scan"`
	// Events are subscribers to cards, orders and complaints; how far each is lies
	// in events below dir.
	Events []assembly.EventConfig `yaml:"events"`
}

// check names what is missing or out of range.
func (c *SuperviseConfig) check(bad func(key, zh, en string)) {
	if c == nil {
		return
	}
	if c.Rules == "" {
		bad("supervise.rules", "缺少此项", "is missing")
	}
	for i, s := range c.Events {
		if s.Name == "" || s.URL == "" || s.CA == "" {
			bad(fmt.Sprintf("supervise.events[%d]", i), "须有 name、url 与 ca", "needs name, url and ca")
		}
	}
	if c.Scan != 0 && (c.Scan < 100*time.Millisecond || c.Scan > 10*time.Minute) {
		bad("supervise.scan", "须在 100ms 与 10m 之间", "must be between 100ms and 10m")
	}
}

// openSupervision reads the rules; what is wrong with them stops the start.
func (g *gateway) openSupervision() error {
	c := g.config.Supervise
	if c == nil {
		return nil
	}
	rules, err := supervise.Load(c.Rules)
	if err != nil {
		return fmt.Errorf("supervise: %w", err)
	}
	g.supervision, err = supervise.New(supervise.Config{Rules: rules, Facts: factsOf(g.release.Catalogue, strconv.FormatUint(g.release.Number, 10)),
		Log: g.audit.Log, Names: g.audit.Pseudonyms, Earlier: g.earlier, Key: g.key, Dir: c.Dir, Scan: c.Scan, Logger: g.log})
	return err
}

// openEvents begins to push to the subscribers.
func (g *gateway) openEvents() error {
	c := g.config.Supervise
	if c == nil {
		return nil
	}
	var err error
	if g.events, err = assembly.OpenEvents(g.config.Audit, filepath.Join(c.Dir, "events"), c.Events, g.key, g.audit.Log, g.log, g.audit.Key.Public()); err != nil {
		return err
	}
	g.OnClose(g.events.Close)
	return nil
}

// superviseAgain is how long supervision rests after it has failed.
const superviseAgain = 30 * time.Second

// supervised runs supervision until ctx ends. The exchange does not stand still
// for it: a failure is an alarm, and is tried again.
func (g *gateway) supervised(ctx context.Context) {
	for g.supervision != nil && ctx.Err() == nil {
		err := g.supervision.Run(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		g.log.Error("supervision stopped, it is tried again", "err", err)
		e := audit.Entry{Open: audit.Open{Op: audit.OpAlarm, Phase: audit.PhaseDone, Outcome: "SUPERVISION_STOPPED"}}
		if err := g.audit.AppendAsync(e); err != nil {
			g.log.Error("alarm not recorded", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(superviseAgain):
		}
	}
}

// factsOf is what a catalogue tells the rules.
func factsOf(c *catalog.Catalogue, version string) supervise.Facts {
	f := supervise.Facts{Version: version, Sources: map[string]supervise.SourceFacts{}, Systems: map[string]string{}, Items: map[string]map[string]bool{}}
	for _, s := range c.Sources {
		f.Sources[string(s.ID)] = supervise.SourceFacts{Department: string(s.Department), Route: string(s.Route),
			Limit: s.Limit(c.Deadlines), Deferred: time.Duration(s.Deferred)}
	}
	for _, caller := range c.Callers {
		f.Systems[string(caller.ID)] = string(caller.Department)
	}
	for _, item := range c.Items {
		list := map[string]bool{}
		for _, situation := range item.Situations {
			for _, proof := range situation.Proofs() {
				list[string(proof)] = true
			}
		}
		f.Items[string(item.Code)] = list
	}
	return f
}
