package main

import (
	"errors"
	"fmt"

	"yizheng/catalog"
	"yizheng/exchange/certificate"
	"yizheng/identity/jose"
	"yizheng/seal"
)

// openPress opens the seals that the catalogue says are kept at this front, and
// the fonts; nil if there are none. One that is missing, or is another than the
// catalogue's, is found out now and not with the first document.
func (a *agent) openPress(c *catalog.Catalogue, id catalog.FrontID, key *jose.Key) (*certificate.Press, error) {
	var own []catalog.Seal
	for _, s := range c.Seals {
		if s.Front == id {
			own = append(own, s)
		}
	}
	if a.config.Seals == nil {
		if len(own) > 0 {
			return nil, fmt.Errorf("目录规定印章 %s 由本机保管，配置中缺 seals 和 fonts / the catalogue has seal %s kept here, but the configuration has no seals and fonts", own[0].ID, own[0].ID)
		}
		return nil, nil
	}
	options, done, err := a.config.Seals.Options(a.config.Passphrase)
	if err != nil {
		return nil, err
	}
	a.OnClose(done)
	seals, err := seal.OpenRegistry(a.config.Seals.Dir, options)
	if err != nil {
		return nil, fmt.Errorf("seals: %w", err)
	}
	if err := a.sameSeals(own, seals.Seals()); err != nil {
		return nil, fmt.Errorf("%s: %w", a.config.Seals.Dir, err)
	}
	p := &certificate.Press{Key: key, Seals: seals}
	p.Renderer, err = a.config.Fonts.Open(&a.Closers)
	return p, err
}

// sameSeals holds the seals of the directory to those of the catalogue, and in
// production to keys that are encrypted.
func (a *agent) sameSeals(want []catalog.Seal, have []seal.Info) error {
	held := make(map[string]seal.Info)
	for _, s := range have {
		held[s.ID] = s
	}
	var errs []error
	for _, w := range want {
		id := string(w.ID)
		switch h, ok := held[id]; {
		case !ok:
			errs = append(errs, fmt.Errorf("印章 %s 不在目录中 / seal %s is not in the directory", id, id))
		case h.ESID != w.Identifier() || h.Name != w.Name || h.SignerCode != string(w.Department):
			errs = append(errs, fmt.Errorf("印章 %s 的 esID、名称或持章单位代码与目录不符 / seal %s: esID, name or code of the holder are not the catalogue's", id, id))
		case !h.KeyHere:
			errs = append(errs, fmt.Errorf("印章 %s 的私钥不在目录中 / the key of seal %s is not in the directory", id, id))
		case a.config.Mode == "production" && !h.KeyProtected:
			errs = append(errs, fmt.Errorf("production: 印章 %s 的私钥未加密 / the key of seal %s is not encrypted", id, id))
		}
	}
	return errors.Join(errs...)
}
