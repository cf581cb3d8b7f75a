package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"yizheng/seal"
)

// verify runs the eight checks of GB/T 39047 5.2.3.3 e) on files, without any network.
func verify(_ context.Context, args []string, out io.Writer) error {
	f := flags("verify", "FILE.pdf…", "gateway verify -trust var/demo/trust out/SI-01.pdf")
	trustDir := f.String("trust", "var/demo/trust", "信任目录（roots/*.crt、makers/*.crt、seals-status.json）/ directory of roots, seal makers and status lists")
	asJSON := f.Bool("json", false, "输出 JSON / print JSON")
	lang := f.String("lang", "zh", "zh 或 en / language of the report")
	if err := parse(f, args, 1, 1000); err != nil {
		return err
	}
	trust, err := seal.LoadTrust(*trustDir)
	if err != nil {
		return fmt.Errorf("信任目录不可用，请用 -trust 指定 / trust directory: %w", err)
	}
	good := true
	for _, name := range f.Args() {
		report, err := verifyFile(name, trust)
		if err != nil {
			return err
		}
		good = good && report.Overall
		if *asJSON {
			if err := json.NewEncoder(out).Encode(report); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(out, name)
		if err := report.WriteText(out, *lang); err != nil {
			return err
		}
	}
	if !good {
		return errNo
	}
	return nil
}

func verifyFile(name string, trust *seal.Trust) (seal.Report, error) {
	file, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return seal.Report{}, fmt.Errorf("没有这个文件 / no such file: %s", name)
	}
	if err != nil {
		return seal.Report{}, fmt.Errorf("读不了文件 / cannot read: %w", err)
	}
	return seal.Verify(file, trust, time.Now()), nil
}
