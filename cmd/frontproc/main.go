// Command frontproc is a front processor: it stands beside one department's
// systems, or at a boundary, and belongs to that side.
//
//	frontproc agent -config FILE    answers questions that arrive by ferry
//	frontproc relay -config FILE    carries sealed envelopes between Kafka and a gap
//	frontproc check -config FILE    tests everything an agent needs; asks about nobody
//	frontproc init -dir DIR -front ID [-gap | -relay]    makes keys and a configuration to begin with
//
// The agent believes nobody: it checks every question with keys from the signed
// catalogue it holds itself (package exchange/front), asks the department's
// system through the same adapters a gateway uses, signs the answer and keeps
// its own audit log. Questions come over Kafka or, behind a gap, over a spool.
//
// The relay stands on the cloud's side of a gap and opens nothing: it has no key
// of a gateway or a front. Each prints one JSON line when it works.
//
// Exit codes: 0 yes, 1 no, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"yizheng/cmd/internal/process"
)

var errUsage = errors.New("usage")

const usage = `frontproc agent -config FILE    回答数据查询 / answers questions
frontproc relay -config FILE    在消息总线与网闸之间转运密封信封 / carries sealed envelopes between Kafka and a gap
frontproc check -config FILE    自检：密钥、证书、时钟、通道、目录、业务系统 / tests everything an agent needs
frontproc init -dir DIR -front ID [-gap | -relay]
                                开户：在本机生成密钥与初始配置 / enrols: makes keys and a configuration here
例 / example: frontproc agent -config /etc/yizheng/frontproc.yaml
              frontproc relay -config /etc/yizheng/relay.yaml
`

func main() {
	ctx, stop := process.Signalled(context.Background())
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func commands() map[string]func(context.Context, []string, io.Writer) error {
	return map[string]func(context.Context, []string, io.Writer) error{
		"agent": runAgent, "relay": runRelay, "check": runCheck, "init": runInit}
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 || commands()[args[0]] == nil {
		fmt.Fprint(errOut, usage)
		if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
			return 0
		}
		return 2
	}
	err := commands()[args[0]](ctx, args[1:], out)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errNo):
		return 1
	}
	fmt.Fprintf(errOut, "frontproc: %v\n", err)
	return 1
}
