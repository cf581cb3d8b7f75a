package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"yizheng/exchange"
	"yizheng/exchange/ferry"
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
		g.onClose(func() error { b.Close(); return nil })
		brokers = b.Brokers()
	}
	g.brokers = brokers
	bus, err := ferry.OpenKafka(ctx, ferry.KafkaConfig{Brokers: brokers, ClientID: "gateway-" + g.config.Slot, Logger: g.log,
		TLS: ferry.Files{CA: c.CA, Certificate: c.Certificate, Key: c.Key}})
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	g.onClose(bus.Close)
	if c.Embedded {
		if err := g.applyTopics(ctx, bus); err != nil {
			return err
		}
	}
	return g.askFronts(bus, sources)
}

// applyTopics makes the topics of the embedded broker; a cluster's are made by its administrator.
func (g *gateway) applyTopics(ctx context.Context, bus *ferry.Kafka) error {
	layout := ferry.Layout{Slots: []string{g.config.Slot}}
	for _, f := range g.release.Catalogue.Fronts {
		layout.Fronts = append(layout.Fronts, ferry.FrontLayout{Name: string(f.ID)})
	}
	topics, err := ferry.Topics(layout)
	if err != nil {
		return err
	}
	changes, err := bus.PlanTopics(ctx, topics)
	if err != nil {
		return fmt.Errorf("topics: %w", err)
	}
	return bus.ApplyTopics(ctx, changes)
}

// askFronts runs the asker and registers a source for each front.
func (g *gateway) askFronts(bus ferry.Bus, sources map[string]exchange.Source) error {
	asker, err := ferry.NewAsker(bus, ferry.AskerConfig{Slot: g.config.Slot, Logger: g.log})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- asker.Run(ctx) }()
	g.onClose(func() error {
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
