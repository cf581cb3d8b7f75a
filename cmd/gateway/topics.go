package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"yizheng/exchange/ferry"
)

// topicsCommand shows what the cluster's topics and access rights lack and, asked to, makes it so.
func topicsCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "apply" {
		fmt.Fprintln(out, "gateway topics apply -h")
		if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
			return nil
		}
		return errUsage
	}
	f := flags("topics apply", "-config FILE [-principal PATTERN] [-certificate FILE -key FILE] [-yes]",
		"gateway topics apply -config configs/gateway.yaml -principal 'User:CN={name}' -certificate admin.crt -key admin.key -yes")
	file := f.String("config", "", "网关配置文件 / the gateway's configuration file")
	yes := f.Bool("yes", false, "执行；不给则只显示差别 / make the changes; without it they are only shown")
	a := clusterAdmin{out: out}
	f.IntVar(&a.replication, "replication", 3, "副本数 / copies of each topic")
	f.StringVar(&a.principal, "principal", "", "授予访问权限的 Kafka 主体，{name} 为前置机编号或 gw00；不给则不动权限 / whom to grant access, {name} is a front's id or gw00; without it access is left alone")
	f.StringVar(&a.certificate, "certificate", "", "集群管理员证书，默认网关自己的 / certificate of the cluster's administrator, default the gateway's own")
	f.StringVar(&a.key, "key", "", "其私钥 / its key")
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
	if (a.certificate == "") != (a.key == "") || a.principal != "" && !strings.Contains(a.principal, "{name}") {
		f.Usage()
		return errUsage
	}
	if a.certificate == "" {
		a.certificate, a.key = c.Kafka.Certificate, c.Kafka.Key
	}
	return a.apply(ctx, c, *yes)
}

// clusterAdmin makes a cluster what the gateways and fronts of a catalogue need.
type clusterAdmin struct {
	certificate, key string
	principal        string // with {name}; empty: no access rights
	replication      int
	out              io.Writer
}

func (a clusterAdmin) apply(ctx context.Context, c *Config, yes bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	release, err := c.Catalog.Open(time.Now())
	if err != nil {
		return err
	}
	bus, err := ferry.OpenKafka(ctx, ferry.KafkaConfig{Brokers: c.Kafka.Brokers, ClientID: "gateway-topics",
		TLS: ferry.Files{CA: c.Kafka.CA, Certificate: a.certificate, Key: a.key}})
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer bus.Close()
	changes, err := a.plan(ctx, bus, layoutOf(release.Catalogue, c.Slot, a.replication))
	if err != nil {
		return err
	}
	out := a.out
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

// plan is what topics and, if there is a pattern for principals, access rights lack.
func (a clusterAdmin) plan(ctx context.Context, bus *ferry.Kafka, l ferry.Layout) ([]ferry.Change, error) {
	topics, err := ferry.Topics(l)
	if err != nil {
		return nil, err
	}
	changes, err := bus.PlanTopics(ctx, topics)
	if err != nil || a.principal == "" {
		return changes, err
	}
	who := func(name string) []string { return []string{strings.ReplaceAll(a.principal, "{name}", name)} }
	for _, slot := range l.Slots {
		l.Gateways = append(l.Gateways, who("gw"+slot)...)
	}
	for i, f := range l.Fronts {
		l.Fronts[i].Principals = who(f.Name)
	}
	access, err := bus.PlanAccess(ctx, l)
	return append(changes, access...), err
}
