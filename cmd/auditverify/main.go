// Command auditverify checks an audit log from its files alone, for auditors
// who do not run a gateway: docs/AUDIT.md. It is one static file without any
// code that could open a connection, changes nothing, and takes nothing on
// trust: what it was not given to hold the log against counts as a failure,
// unless -without says that there is none.
//
// Exit codes: 0 verified, 1 not, 2 wrong usage, 3 could not be read.
package main

import (
	"context"
	"os"

	"yizheng/audit/auditor"
	"yizheng/cmd/internal/process"
)

func main() {
	ctx, stop := process.Signalled(context.Background())
	code := auditor.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
