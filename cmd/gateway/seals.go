package main

import (
	"errors"
	"fmt"

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
