package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"yizheng/cmd/gateway/demo"
)

// runDemo starts the demo city and exchanges one matter's proofs. A person is
// chosen by the short name of their sample card: no command takes an ID number.
func runDemo(ctx context.Context, args []string, out io.Writer) error {
	f := flags("demo", "[-once] [-item CODE] [-card ID[,ID]]", "gateway demo -once -item HPW -card li-ming,wang-fang")
	once := f.Bool("once", false, "核验后退出：0 全部通过，1 否 / end after verification: 0 all good, 1 not")
	item := f.String("item", "PBR", "事项编码 / item code")
	situation := f.String("situation", "", "情形编码，默认第一种 / situation code, default the first")
	cards := f.String("card", "li-yu", "样例人物（configs/demo/people.yaml 的 id），多人用逗号 / sample persons, comma separated")
	outDir := f.String("out", "out", "文书输出目录 / directory for the documents")
	state := f.String("state", "var/demo", "密钥与日志目录 / directory for keys and logs")
	configs := f.String("configs", "configs/demo", "示例城市 / the demo city's directory")
	listen := f.String("listen", "", "网关地址，默认 localhost:8443；-once 时任选空闲端口 / the gateway's address")
	font := f.String("font", "", "正文字体 / body font")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if *listen == "" {
		*listen = "localhost:8443"
		if *once {
			*listen = "localhost:0"
		}
	}
	if err := os.MkdirAll(*state, 0o700); err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(*state, "processes.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	err = demo.Run(ctx, demo.Options{
		Places: demo.Places{State: *state, Configs: *configs, Bin: filepath.Dir(self), Font: *font, Listen: *listen, Log: logFile},
		Out:    *outDir, Item: *item, Situation: *situation, Cards: strings.Split(*cards, ","), Once: *once,
	}, out)
	if err != nil {
		fmt.Fprintf(out, "✗ %v\n", err)
		return errNo
	}
	return nil
}
