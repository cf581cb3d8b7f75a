package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"yizheng/catalog"
	"yizheng/seal"
)

// keysHere finds out now, and not with the first document, that a seal in use has no
// key here although the catalogue names no front that keeps it, or in production one
// that is not protected.
func keysHere(want []catalog.Seal, have []seal.Info, production bool) error {
	var errs []error
	for _, h := range have {
		if production && h.KeyHere && !h.KeyProtected {
			errs = append(errs, fmt.Errorf("production: 印章 %s 的私钥未加密，或密码机允许导出 / the key of seal %s is not encrypted, or its module would give it out", h.ID, h.ID))
		}
	}
	for _, w := range want {
		for _, h := range have {
			if h.ID == string(w.ID) && w.Front == "" && h.State == seal.Issued && !h.KeyHere {
				errs = append(errs, fmt.Errorf("seals: 印章 %s 在本机没有私钥，目录也未写明由哪台前置机保管（front） / seal %s has no key here, and the catalogue names no front that keeps it", w.ID, w.ID))
			}
		}
	}
	return errors.Join(errs...)
}

// remindEvery is how often what expires is logged.
const remindEvery = 24 * time.Hour

// remind logs what expires within 60, 30 and 7 days, now and daily until ctx ends.
func remind(ctx context.Context, seals *seal.Registry, log *slog.Logger) {
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		for _, e := range seals.Expiring(time.Now()) {
			log.Warn("expires soon, renew it (即将到期，请办理更新)", "seal", e.SealID, "what", e.What, "on", e.Until.Format(time.DateOnly), "days", e.Days, "within", e.Within)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
