package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/ferry"
	"yizheng/exchange/fleet"
	"yizheng/exchange/front"
)

// openFerry connects to Kafka, or starts the embedded broker, and makes a
// source of every front of the catalogue.
func (g *gateway) openFerry(ctx context.Context, sources map[string]exchange.Source) error {
	c := g.config.Kafka
	brokers := c.Brokers
	if c.Embedded {
		b, err := ferry.StartEmbedded(ferry.EmbeddedConfig{Port: c.Port, Logger: g.log,
			TLS: ferry.Files{CA: c.CA, Certificate: c.BrokerCertificate, Key: c.BrokerKey}})
		if err != nil {
			return err
		}
		g.OnClose(func() error { b.Close(); return nil })
		brokers = b.Brokers()
	}
	g.brokers = brokers
	bus, err := ferry.OpenKafka(ctx, ferry.KafkaConfig{Brokers: brokers, ClientID: "gateway-" + g.config.Slot, Logger: g.log,
		TLS: ferry.Files{CA: c.CA, Certificate: c.Certificate, Key: c.Key}})
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	g.OnClose(bus.Close)
	g.bus = bus
	if c.Embedded {
		if err := g.applyTopics(ctx, bus); err != nil {
			return err
		}
	}
	return g.askFronts(bus, sources)
}

// applyTopics makes the topics of the embedded broker; a cluster's are made by its administrator.
func (g *gateway) applyTopics(ctx context.Context, bus *ferry.Kafka) error {
	topics, err := ferry.Topics(layoutOf(g.release.Catalogue, g.config.Slot, 1))
	if err != nil {
		return err
	}
	changes, err := bus.PlanTopics(ctx, topics)
	if err != nil {
		return fmt.Errorf("topics: %w", err)
	}
	return bus.ApplyTopics(ctx, changes)
}

// layoutOf is what the topics follow from: the catalogue's fronts and the gateways' slots.
func layoutOf(c *catalog.Catalogue, slot string, replication int) ferry.Layout {
	l := ferry.Layout{Slots: []string{slot}, Replication: replication}
	for _, f := range c.Fronts {
		l.Fronts = append(l.Fronts, ferry.FrontLayout{Name: string(f.ID),
			Deferred: c.LongestDeferred(func(s catalog.Source) bool { return s.Front == f.ID })})
	}
	return l
}

// askFronts runs the asker and registers a source for each front.
func (g *gateway) askFronts(bus ferry.Bus, sources map[string]exchange.Source) error {
	asker, err := ferry.NewAsker(bus, ferry.AskerConfig{Slot: g.config.Slot, Logger: g.log})
	if err != nil {
		return err
	}
	g.asker = asker
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- asker.Run(ctx) }()
	g.OnClose(func() error {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("ferry: %w", err)
		}
		return nil
	})
	select {
	case <-asker.Ready():
	case <-time.After(30 * time.Second):
		return errors.New("kafka: 应答主题未就绪 / the reply topic is not ready")
	}
	for _, f := range g.release.Catalogue.Fronts {
		s, err := front.NewSource(front.SourceConfig{Front: f, Sender: "gw" + g.config.Slot, Key: g.key, Asker: asker, Logger: g.log})
		if err != nil {
			return err
		}
		sources["front:"+string(f.ID)] = s
	}
	return nil
}

// longestDeferred is the longest time that any department may take.
func (g *gateway) longestDeferred() time.Duration {
	return g.release.Catalogue.LongestDeferred(func(catalog.Source) bool { return true })
}

// collectDeferred takes its share of the answers to deferred questions, until
// it is closed.
func (g *gateway) collectDeferred() {
	if g.bus == nil || g.longestDeferred() == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- front.Collect(ctx, g.bus, g.exchanges) }()
	g.OnClose(func() error { cancel(); return <-ended })
}

// openFleet opens the keys that all gateways share.
func (g *gateway) openFleet() (*fleet.Keys, error) {
	const spare = 48 * time.Hour // results of deferred questions wait a day for their callers
	return fleet.Open(fleet.Config{Dir: g.config.Keys.Fleet, Passphrase: g.config.Keys.Passphrase, Keep: g.longestDeferred() + spare})
}

// watchFronts says, in the log and on stdout, when a front processor is heard of
// for the first time, when it falls silent and when it is back.
func (g *gateway) watchFronts(ctx context.Context, out io.Writer) {
	if g.asker == nil {
		return
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	up := make(map[string]bool)
	for {
		for _, f := range g.asker.Fronts() {
			if was, known := up[f.Front]; f.Up == was && (known || !f.Up) {
				continue
			}
			up[f.Front] = f.Up
			g.log.Info("front processor", "front", f.Front, "up", f.Up)
			line, _ := json.Marshal(map[string]any{"event": "front", "front": f.Front, "up": f.Up}) // always encodes
			fmt.Fprintln(out, string(line))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
