package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"yizheng/catalog"
	"yizheng/cmd/gateway/setup"
	"yizheng/exchange/ferry/relay"
)

// Program is one of the programs that stand on the way to a front.
type Program string

// A front behind a gap has all three, any other its agent only.
const (
	Agent  Program = "agent"  // frontproc agent, beside the department's system
	Relay  Program = "relay"  // frontproc relay, on the cloud's side of the gap
	Device Program = "device" // the boundary device between the two
)

func (c *City) startRelays(ctx context.Context) error {
	return c.startEach(ctx, Relay, setup.FrontsBehindGap(c.catalogue))
}

func (c *City) startDevices(ctx context.Context) error {
	return c.startEach(ctx, Device, setup.FrontsBehindGap(c.catalogue))
}

func (c *City) startFronts(ctx context.Context) error {
	return c.startEach(ctx, Agent, c.catalogue.Fronts)
}

func (c *City) startEach(ctx context.Context, p Program, fronts []catalog.Front) error {
	for _, f := range fronts {
		if err := c.StartProgram(ctx, p, f.ID); err != nil {
			return err
		}
	}
	return nil
}

// StartProgram starts a front's program, and again one that was stopped.
func (c *City) StartProgram(ctx context.Context, p Program, f catalog.FrontID) error {
	args := []string{"-scan", "10ms", "-extensions", "xml", "-a", c.relays(f, "spool"), "-b", c.fronts(f, "spool")}
	name, stage := "gapdevice", c.stage
	if p != Device {
		config, err := c.writeFerryConfig(p, f)
		if err != nil {
			return err
		}
		name, args = "frontproc", []string{string(p), "-config", config}
	}
	for i, old := range c.processes {
		if old.program == p && old.front == f { // it takes the place of one that has ended
			stage, c.processes = old.stage, slices.Delete(c.processes, i, i+1)
			break
		}
	}
	started, err := c.start(ctx, name, args...)
	if err != nil {
		return err
	}
	started.program, started.front, started.stage = p, f, stage
	return nil
}

// StopProgram ends a front's program, as when somebody switches it off.
func (c *City) StopProgram(p Program, f catalog.FrontID) error {
	if old := c.program(p, f); old != nil {
		return old.stop()
	}
	return errEnded
}

// KillProgram ends a front's program as a crash does.
func (c *City) KillProgram(p Program, f catalog.FrontID) error {
	old := c.program(p, f)
	if old == nil {
		return errEnded
	}
	err := old.cmd.Process.Kill()
	<-old.ended
	return err
}

func (c *City) program(p Program, f catalog.FrontID) *process {
	for _, old := range c.processes {
		if old.program == p && old.front == f {
			return old
		}
	}
	return nil
}

// awaitFronts waits until every program on the way works and the gateway has heard of each front.
func (c *City) awaitFronts(ctx context.Context) error {
	ready := map[Program]string{Agent: "serving", Relay: "relaying", Device: "ready"}
	for _, p := range c.processes {
		if p.program == "" {
			continue
		}
		if _, err := c.await(ctx, p, ready[p.program]); err != nil {
			return err
		}
	}
	for _, f := range c.catalogue.Fronts {
		if err := c.AwaitFront(ctx, f.ID, true); err != nil {
			return err
		}
	}
	return nil
}

// AwaitFront waits until the gateway takes a front to be up, or not.
func (c *City) AwaitFront(ctx context.Context, f catalog.FrontID, up bool) error {
	for c.up[f] != up {
		e, err := c.await(ctx, c.gateway, "front")
		if err != nil {
			return fmt.Errorf("front %s: %w", f, err)
		}
		c.up[catalog.FrontID(e["front"])] = e["up"] == "true"
	}
	return nil
}

// frontLogs are the directories of all fronts' logs, comma separated.
func (c *City) frontLogs() string {
	var list []string
	for _, f := range c.catalogue.Fronts {
		list = append(list, c.in("fronts/"+string(f.ID)+"/audit"))
	}
	return strings.Join(list, ",")
}

// fronts is a path on a front's own machine, relays one on its relay's.
func (c *City) fronts(f catalog.FrontID, name string) string {
	return c.abs("fronts/" + string(f) + "/" + name)
}
func (c *City) relays(f catalog.FrontID, name string) string {
	return c.abs("relays/" + string(f) + "/" + name)
}

func (c *City) writeFerryConfig(p Program, f catalog.FrontID) (string, error) {
	config := c.frontConfig(f)
	if p == Relay {
		config = c.relayConfig(f)
	}
	name := string(p) + "-" + string(f) + ".yaml"
	return c.in(name), c.writeYAML(name, config)
}

// frontConfig is a front processor's configuration. Its own keys, log and
// pseudonyms lie below fronts/<id>, as they would on its own machine.
func (c *City) frontConfig(f catalog.FrontID) m {
	config := m{
		"mode": "demo", "front": f, "key": c.abs("keys/fronts/" + string(f) + ".key"),
		"gateways": []m{{"name": "gw00", "key": c.abs("keys/gateway.pub.pem")}},
		"catalog": m{"releases": c.abs("releases"), "min_number": c.Release,
			"administrators": []string{c.abs("keys/admins/security-1.pub.pem"), c.abs("keys/admins/security-2.pub.pem")}},
		"audit":          m{"dir": c.fronts(f, "audit"), "key": c.fronts(f, "audit-key.key"), "pseudonyms": c.fronts(f, "pseudonyms"), "pseudonym_key": c.fronts(f, "pseudonyms-key.key")},
		"administrators": []m{{"name": "security-1", "key": c.abs("keys/admins/security-1.pub.pem")}, {"name": "security-2", "key": c.abs("keys/admins/security-2.pub.pem")}},
		"connections":    c.connections(f),
	}
	if setup.BehindGap(c.catalogue, f) {
		in, out := relay.Channels(string(f))
		gap := spoolConfig(c.fronts(f, ""), out, in, c.relays(f, "gap.pub.pem"))
		gap["inbox"] = c.fronts(f, "inbox")
		config["spool"] = gap
	} else {
		config["kafka"] = c.kafkaConfig(c.fronts(f, "kafka"))
	}
	if c.defers(f) {
		config["reads"] = c.fronts(f, "reads")
	}
	if slices.ContainsFunc(c.catalogue.Seals, func(s catalog.Seal) bool { return s.Front == f }) {
		config["seals"] = m{"dir": c.fronts(f, "seals"), "trust": c.abs("trust")}
		config["fonts"] = c.fonts()
	}
	return config
}

// defers tells whether a department behind the front may take longer than somebody waits.
func (c *City) defers(f catalog.FrontID) bool {
	return c.catalogue.LongestDeferred(func(s catalog.Source) bool { return s.Front == f }) > 0
}

// relayConfig is the configuration of the relay on the other side of a front's gap.
func (c *City) relayConfig(f catalog.FrontID) m {
	out, in := relay.Channels(string(f))
	return m{"mode": "demo", "fronts": []catalog.FrontID{f}, "deferred": c.defers(f), "kafka": c.kafkaConfig(c.relays(f, "kafka")),
		"spool": spoolConfig(c.relays(f, ""), out, in, c.fronts(f, "gap.pub.pem"))}
}

// spoolConfig is one side of a gap whose device looks every ten milliseconds.
func spoolConfig(own, out, in, peer string) m {
	return m{"dir": own + "/spool", "out": out, "in": in, "key": own + "/gap.key", "peer_keys": []string{peer},
		"device": m{"atomic": true, "xml": true, "extension": "xml"}, "inspection": "header", "gap_after": "200ms", "resend_after": "500ms", "beat_every": "1s", "reconcile": "10s"}
}

func (c *City) kafkaConfig(certificate string) m {
	return m{"brokers": strings.Split(c.Brokers, ","), "ca": c.abs("keys/tls/ca.crt"), "certificate": certificate + ".crt", "key": certificate + ".key"}
}
