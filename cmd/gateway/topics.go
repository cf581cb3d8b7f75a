package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"yizheng/exchange/ferry"
)

// topicsCommand shows what the cluster's topics lack and, asked to, makes it so.
func topicsCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "apply" {
		fmt.Fprintln(out, "gateway topics apply -h")
		if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
			return nil
		}
		return errUsage
	}
	f := flags("topics apply", "-config FILE [-yes]", "gateway topics apply -config configs/gateway.yaml -yes")
	file := f.String("config", "", "网关配置文件 / the gateway's configuration file")
	yes := f.Bool("yes", false, "执行；不给则只显示差别 / make the changes; without it they are only shown")
	replication := f.Int("replication", 3, "副本数 / copies of each topic")
	if err := parse(f, args[1:], 0, 0); err != nil {
		return err
	}
	if *file == "" {
		f.Usage()
		return errUsage
	}
	c, err := readConfig(*file)
	if err != nil {
		return err
	}
	if c.Kafka == nil || c.Kafka.Embedded {
		return fmt.Errorf("%s: kafka: 没有配置集群（内置代理的主题由网关自建） / no cluster is configured", *file)
	}
	return applyClusterTopics(ctx, c, *replication, *yes, out)
}

func applyClusterTopics(ctx context.Context, c *Config, replication int, yes bool, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	release, err := c.Catalog.Open(time.Now())
	if err != nil {
		return err
	}
	topics, err := ferry.Topics(layoutOf(release.Catalogue, c.Slot, replication))
	if err != nil {
		return err
	}
	bus, err := ferry.OpenKafka(ctx, ferry.KafkaConfig{Brokers: c.Kafka.Brokers, ClientID: "gateway-topics",
		TLS: ferry.Files{CA: c.Kafka.CA, Certificate: c.Kafka.Certificate, Key: c.Kafka.Key}})
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer bus.Close()
	changes, err := bus.PlanTopics(ctx, topics)
	if err != nil {
		return err
	}
	for _, change := range changes {
		fmt.Fprintln(out, change)
	}
	switch {
	case len(changes) == 0:
		fmt.Fprintln(out, "没有差别 / nothing to change")
		return nil
	case !yes:
		fmt.Fprintf(out, "%d 处差别；加 -yes 执行 / differences; -yes makes the changes\n", len(changes))
		return errNo
	}
	return bus.ApplyTopics(ctx, changes)
}
