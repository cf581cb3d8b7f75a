// Command readeragent runs beside a card reader at a service window or in a
// kiosk. It dials out to the gateway over mutual TLS and never listens: the
// gateway sends a signed challenge, the agent reads a card and answers with a
// read attestation under its own SM2 key and the card's text encrypted to the
// gateway (docs/protocol/read-attestation.md).
//
// On standard output it writes one JSON object a line, for the program that
// started it; never anything from a card. Messages for people go to standard
// error. With the simulated reader it takes commands on standard input:
//
//	put li-ming    lay a sample person's card on the reader
//	remove         take the card away; a card is read once per laying down
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"yizheng/cmd/internal/process"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `readeragent answers the gateway's challenges with attested card reads.
读卡代理：应网关的质询读取身份证并签名作证。

Usage: readeragent -config FILE

Example: readeragent -config configs/demo/readeragent.yaml

Commands on standard input (simulated reader): "put CARD", "remove".

A configuration / 配置示例:

  mode: demo
  gateway: https://localhost:8443
  ca: keys/tls/ca.crt
  certificate: keys/tls/agent-ws-01.crt
  key: keys/tls/agent-ws-01.key
  gateway_key: keys/gateway.pub.pem
  agent_key: keys/agents/ws-01.pem
  workstation: ws-01
  reader: simulated
  sam: 05.03-20191225-0000012345-0987654321
  cards: configs/demo/people.yaml
  operator_check: always
  state: var/ws-01.sequence

`

func main() {
	ctx, stop := process.Signalled(context.Background())
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("readeragent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	path := flags.String("config", "", "configuration `file` (YAML)")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		return exitUsage
	}
	if *path == "" || flags.NArg() > 0 {
		flags.Usage()
		return exitUsage
	}
	config, err := loadConfig(*path)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	if err := process.KeepInMemory(); err != nil {
		fmt.Fprintln(stderr, "readeragent:", err)
		return exitFailed
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	a, err := newAgent(config, stdout, log)
	if err != nil {
		fmt.Fprintln(stderr, "readeragent:", err)
		return exitFailed
	}
	// Nobody waits for this goroutine: a blocked read of a terminal cannot be
	// interrupted. It ends with the input or with the process.
	go a.reader.obey(stdin, a.tell)
	a.run(ctx)
	return exitOK
}
