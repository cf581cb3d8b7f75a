package auditor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
)

// What Main returns.
const (
	Verified = iota
	Failed
	Usage
	Unreadable // nothing can be said
)

const example = `auditverify：只凭文件核验审计日志 / verifies an audit log from its files alone
例 / examples:
  auditverify -dir audit -key audit.pub.pem -checkpoint kept/2026q4.checkpoint -witness witness.example/a=witness.pub.pem -witnessed from-witness.checkpoint
  auditverify -dir audit -key audit.pub.pem -without known,witness
  auditverify -subset extract.json -key audit.pub.pem
`

// Main is the program auditverify.
func Main(ctx context.Context, args []string, out, errOut io.Writer) int {
	f := flag.NewFlagSet("auditverify", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.Usage = func() {
		fmt.Fprint(errOut, example)
		f.PrintDefaults()
	}
	c := Command{Complete: true}
	c.Flags(f)
	subset := f.String("subset", "", "只验 gateway audit export 导出的子集文件 / verify a subset made by gateway audit export")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return Verified
	case err != nil:
		return Usage
	case f.NArg() > 0 || len(args) == 0:
		f.Usage()
		return Usage
	}
	verify := c.Run
	if *subset != "" {
		verify = func(_ context.Context, out io.Writer) (bool, error) { return c.Subset(*subset, out) }
	}
	good, err := verify(ctx, out)
	switch {
	case err != nil:
		fmt.Fprintf(errOut, "auditverify: 未能核验 / not verified: %v\n", err)
		return Unreadable
	case !good:
		return Failed
	}
	return Verified
}
