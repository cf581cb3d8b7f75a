package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"yizheng/exchange"
	"yizheng/exchange/ferry"
	"yizheng/web/health"
)

// look finds out how the gateway is, once everything is open.
func (g *gateway) look(ctx context.Context) health.Report {
	r := health.Report{Origin: g.config.Origin, Slot: g.config.Slot, Mode: g.config.Mode, Started: g.started,
		Log: health.Log{Status: g.audit.Status()}, Copies: g.shipping(), Lines: g.lines(), Ends: g.ends(time.Now()),
		Catalogue: health.Catalogue{Number: g.release.Number, Expires: g.release.Expires},
		Store:     health.Store{Reachable: g.store.Ping(ctx) == nil}}
	r.Pseudonyms = health.Pseudonyms{InProcess: true, Reachable: true}
	if service, ok := g.audit.Pseudonyms.(interface{ Check() error }); ok {
		r.Pseudonyms = health.Pseudonyms{Reachable: service.Check() == nil}
	}
	r.Pseudonyms.Unread = g.audit.Unread()
	if g.audit.Index != nil {
		lag, err := g.audit.Index.Lag(ctx)
		if err != nil {
			g.log.Warn("audit index: how far it is behind is not known", "err", err)
		}
		r.Index = &health.Index{Lag: lag}
	}
	if g.audit.Keeper != nil {
		r.Witness = &health.Witness{Status: g.audit.Keeper.Status()}
	}
	if g.audit.Stamper != nil {
		r.Stamps = &health.Stamps{Status: g.audit.Stamper.Status(), Down: g.audit.Stamper.Client.Down()}
	}
	if t := g.timeStamps; t != nil {
		r.Authority = &health.Authority{Down: t.Client.Down(), Required: t.Required}
	}
	return r
}

// shipping is how far the copies of the log are, and what supervision pushes.
func (g *gateway) shipping() []health.Copy {
	list := []health.Copy{}
	for _, s := range g.audit.Copies.Status() {
		list = append(list, health.Copy{Status: s})
	}
	if g.events != nil {
		for _, s := range g.events.Status() {
			list = append(list, health.Copy{Status: s, Events: true})
		}
	}
	return list
}

// lines are the ways to the departments that the catalogue names. A front is up
// while its heartbeat is heard; any other line, unless the last question to it
// found nobody.
func (g *gateway) lines() []health.Line {
	lines := make(map[string]health.Line)
	for _, s := range g.release.Catalogue.Sources {
		name := exchange.Line(s)
		lines[name] = health.Line{Name: name, Up: s.Front == ""}
	}
	if g.asker != nil {
		for _, f := range g.asker.Fronts() {
			if name := "front:" + f.Front; lines[name].Name != "" {
				lines[name] = frontLine(name, f)
			}
		}
	}
	for name, since := range g.exchanges.Outages() {
		if l, known := lines[name]; known && l.Up {
			lines[name] = health.Line{Name: name, Since: since.UTC()}
		}
	}
	return slices.SortedFunc(maps.Values(lines), func(a, b health.Line) int { return cmp.Compare(a.Name, b.Name) })
}

func frontLine(name string, f ferry.FrontState) health.Line {
	l := health.Line{Name: name, Up: f.Up}
	if !f.Up && !f.Since.IsZero() {
		l.Since = f.Since.UTC()
	}
	return l
}

// monitors are the systems that may ask how the gateway is, by the digests of
// their certificates.
func (c *Config) monitors() (map[string]bool, error) {
	digests := make(map[string]bool)
	for _, path := range c.Monitors {
		digest, err := certificateDigest(path)
		if err != nil {
			return nil, fmt.Errorf("monitors: %s: %w", path, err)
		}
		digests[digest] = true
	}
	return digests, nil
}
