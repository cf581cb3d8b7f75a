// Command gateway is Yizheng's exchange: it serves the HTTPS API, and holds the
// tools of its administrators and auditors. Each subcommand has -h with an example.
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

// command is one subcommand. It returns errUsage (already explained), errNo
// (already explained) or another error to print.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, out io.Writer) error
}

var (
	errUsage = errors.New("usage")
	errNo    = errors.New("no")
)

func commands() []command {
	return []command{
		{"serve", "运行网关 / run the gateway", serve},
		{"demo", "起一座示例城市，刷一张卡，换一件事的证明 / start the demo city and exchange one matter's proofs", runDemo},
		{"verify", "核验盖章 PDF 的八项 / run the eight checks on a sealed PDF", verify},
		{"withdraw", "撤回错发的文书：一人申请，另一人批准 / withdraw a document: one person asks, another approves", withdraw},
		{"bundle", "把一件事的盖章 PDF 原样装进一个带清单的文件 / sealed PDFs, untouched, in one file with a list", bundleCommand},
		{"audit", "verify、prove、export、index：审计日志离线工具；search、path、apply、approve、roster：检索 / offline tools of the audit log, and searching it", auditCommand},
		{"witness", "见证其他部门网关的审计日志 / cosign checkpoints of other departments' audit logs", runWitness},
		{"supervise", "rules check、replay、cards、orders、stats、relatives：电子监察 / supervision of the exchange itself", superviseCommand},
		{"pseudod", "假名服务：独立进程持有假名密钥 / pseudonyms from a process of its own that alone has the keys", runPseudod},
		{"catalog", "check、diff、sign、publish：目录 / the catalogue", catalogCommand},
		{"seal", "apply、approve、make、issue、suspend……：印章管理 / look after the seals", sealCommand},
		{"keys", "new、root、maker、holder：密钥与试用证书 / keys, and certificates for trials", keysCommand},
		{"init", "生成密钥、CA、印章与三员 / make keys, CA, seals and the three administrators", initialise},
		{"topics", "apply：Kafka 主题与设置，先显示差别 / Kafka topics and settings; shows a diff first", topicsCommand},
		{"health", "探测运行中的网关 / probe a running gateway", probe},
	}
}

func main() {
	ctx, stop := process.Signalled(context.Background())
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		help(out)
		if len(args) == 0 {
			return 2
		}
		return 0
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], out)
		switch {
		case err == nil || errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, errUsage):
			return 2
		case errors.Is(err, errNo):
			return 1
		}
		fmt.Fprintf(errOut, "gateway %s: %v\n", c.name, err)
		return 1
	}
	fmt.Fprintf(errOut, "gateway: 没有子命令 %q / no such command\n", args[0])
	help(errOut)
	return 2
}

func help(w io.Writer) {
	fmt.Fprintln(w, "一证 Yizheng: gateway COMMAND [-h]")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.summary)
	}
}

// flags makes a flag set that explains itself with an example.
func flags(name, arguments, example string) *flag.FlagSet {
	f := flag.NewFlagSet("gateway "+name, flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "gateway %s %s\n例 / example: %s\n", name, arguments, example)
		f.PrintDefaults()
	}
	return f
}

// parse returns errUsage for wrong flags and flag.ErrHelp for -h.
func parse(f *flag.FlagSet, args []string, least, most int) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if f.NArg() < least || f.NArg() > most {
		f.Usage()
		return errUsage
	}
	return nil
}

// parseMixed is parse for commands that take flags behind their files too. It returns
// the files.
func parseMixed(f *flag.FlagSet, args []string) (files []string, err error) {
	for {
		if err := parse(f, args, 0, len(args)); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return files, nil
		}
		files, args = append(files, f.Arg(0)), f.Args()[1:]
	}
}
