package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"yizheng/exchange"
	"yizheng/exchange/bundle"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// matterOrder is the cover of a whole matter (package bundle). state is the answer of
// GET /v1/exchanges/{no}, or of POST. A document of another exchange is refused.
func matterOrder(state string) func(ctx context.Context, paths []string, trust *seal.Trust, matter, by string, now time.Time) (pdf.Document, []bundle.Verdict, error) {
	return func(ctx context.Context, paths []string, trust *seal.Trust, matter, by string, now time.Time) (pdf.Document, []bundle.Verdict, error) {
		view, err := readView(state)
		if err != nil {
			return pdf.Document{}, nil, err
		}
		m, seals := bundle.New(view), []bundle.Verdict(nil)
		for _, path := range paths {
			p, err := readPaper(ctx, path, trust)
			if err != nil {
				return pdf.Document{}, nil, err
			}
			if err := m.Add(p); err != nil {
				return pdf.Document{}, nil, fmt.Errorf("%s: %w", path, err)
			}
			seals = append(seals, p.Seal)
		}
		return m.Cover(matter, by, now), seals, nil
	}
}

func readView(path string) (v exchange.View, err error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err == nil && (v.Exchange == "" || len(v.Parts) == 0) {
		err = fmt.Errorf("不是 GET /v1/exchanges/{no} 的答复 / not an answer of GET /v1/exchanges/{no}")
	}
	if err != nil {
		return v, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

func readPaper(ctx context.Context, path string, trust *seal.Trust) (bundle.Paper, error) {
	v, file, err := verifyFile(ctx, path, trust, nil)
	if err != nil {
		return bundle.Paper{}, err
	}
	p, err := bundle.Read(ctx, filepath.Base(path), file, v.Report)
	if err != nil {
		why := seal.Unreadable(err)
		return bundle.Paper{}, fmt.Errorf("%s: %s / %s", path, why.ZH, why.EN)
	}
	return p, nil
}
