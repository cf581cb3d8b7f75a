// Command frontproc is a front processor: it stands beside one department's
// systems, or at a boundary, and belongs to that side.
//
//	frontproc agent -config FILE    answers questions that arrive by ferry
//
// The agent believes nobody: it checks every question with keys from the signed
// catalogue it holds itself (package exchange/front), asks the department's
// system through the same adapters a gateway uses, signs the answer and keeps
// its own audit log.
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
	"os/signal"
	"syscall"
)

var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 || args[0] != "agent" {
		fmt.Fprintln(errOut, "frontproc agent -config FILE\n例 / example: frontproc agent -config /etc/yizheng/frontproc.yaml")
		if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
			return 0
		}
		return 2
	}
	err := runAgent(ctx, args[1:], out)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintf(errOut, "frontproc: %v\n", err)
	return 1
}
