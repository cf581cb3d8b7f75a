package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"yizheng/catalog"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
)

// catalogCommand holds the catalogue's tools. Signing is done outside the
// gateway, by persons, one command each.
func catalogCommand(_ context.Context, args []string, out io.Writer) error {
	subs := map[string]func([]string, io.Writer) error{
		"check": catalogCheck, "diff": catalogDiff, "grant": catalogGrant, "build": catalogBuild, "sign": catalogSign, "publish": catalogPublish,
	}
	if len(args) > 0 {
		if run, ok := subs[args[0]]; ok {
			return run(args[1:], out)
		}
	}
	fmt.Fprintln(out, `gateway catalog check   检查目录 YAML，指出每处错误的文件与行 / point at file and line of every mistake
gateway catalog diff    两个发布包的差别 / what two releases differ in
gateway catalog grant   责任部门会签授权 / a department countersigns its grants
gateway catalog build   生成待签发布包 / make a release to be signed
gateway catalog sign    安全管理员签名（两人） / a security administrator signs (two of them)
gateway catalog publish 验签后入库 / verify and add to the history`)
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		return nil
	}
	return errUsage
}

// catalogCheck prints every mistake with file, line and what to do.
func catalogCheck(args []string, out io.Writer) error {
	f := flags("catalog check", "[-keys DIR] DIR", "gateway catalog check configs/demo/catalog")
	keys := f.String("keys", "", "${keys} 所指目录；不给则不查密钥文件 / what ${keys} stands for; without it key files are not checked")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	c, err := loadCatalogue(f.Arg(0), *keys)
	var problems catalog.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			fmt.Fprintln(out, p)
		}
		fmt.Fprintf(out, "%d 处错误 / mistakes\n", len(problems))
		return errNo
	}
	if err != nil {
		return err
	}
	for _, n := range c.Notes() {
		fmt.Fprintf(out, "注 / note: %s\n", n)
	}
	fmt.Fprintf(out, "没有错误 / no mistakes: %d 部门 departments，%d 数据源 sources，%d 证明 proofs，%d 事项 items，%d 授权 grants\n",
		len(c.Departments), len(c.Sources), len(c.Proofs), len(c.Items), len(c.Grants))
	return nil
}

func loadCatalogue(dir, keys string) (*catalog.Catalogue, error) {
	o := catalog.Options{}
	if keys != "" {
		o.Vars = map[string]string{"keys": keys}
	}
	return catalog.Load(dir, o)
}

func catalogDiff(args []string, out io.Writer) error {
	f := flags("catalog diff", "-admins FILES OLD NEW", "gateway catalog diff -admins a.pub.pem,b.pub.pem 000001.release.json 000002.release.json")
	admins := f.String("admins", "", "安全管理员公钥，逗号分隔 / public keys of the security administrators")
	if err := parse(f, args, 2, 2); err != nil {
		return err
	}
	t, err := trustIn(*admins)
	if err != nil {
		return err
	}
	t.AnyTime = true
	var both [2]*catalog.Catalogue
	for i := range both {
		data, err := os.ReadFile(f.Arg(i))
		if err != nil {
			return err
		}
		r, err := catalog.Open(data, t)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Arg(i), err)
		}
		both[i] = r.Catalogue
	}
	lines := catalog.Diff(both[0], both[1])
	for _, l := range lines {
		fmt.Fprintln(out, l)
	}
	if len(lines) > 0 {
		return errNo
	}
	return nil
}

func trustIn(files string) (catalog.Trust, error) {
	t := catalog.Trust{Administrators: make(map[string]*ecdsa.PublicKey), Need: 2, Now: time.Now()}
	if files == "" {
		return t, errors.New("请用 -admins 给出安全管理员公钥 / give the security administrators' keys with -admins")
	}
	for path := range strings.SplitSeq(files, ",") {
		pub, err := jose.ReadPublicKey(path)
		if err != nil {
			return t, err
		}
		t.Administrators[jose.KeyID(pub)] = pub
	}
	return t, nil
}

// catalogGrant signs a department's grants, one JWS a line, appended to a file.
func catalogGrant(args []string, out io.Writer) error {
	f := flags("catalog grant", "-keys DIR -department USCC -key FILE DIR", "gateway catalog grant -keys var/demo/keys -department 11690100006900026F -key mz.grant.key configs/demo/catalog >> grants.jws")
	keys := f.String("keys", "", "${keys} 所指目录 / what ${keys} stands for")
	dept := f.String("department", "", "责任部门的统一社会信用代码 / unified social credit code of the department")
	key := f.String("key", "", "部门的授权会签私钥 / the department's key")
	pass := f.String("passphrase", "", "口令文件 / file with the passphrase")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	c, err := loadCatalogue(f.Arg(0), *keys)
	if err != nil {
		return err
	}
	k, err := jose.ReadKey(*key, *pass)
	if err != nil {
		return err
	}
	for _, g := range c.Grants {
		if p, ok := c.Proof(g.Proof); !ok || string(p.Owner) != *dept {
			continue
		}
		token, err := catalog.SignGrant(k, c, g)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, token)
	}
	return nil
}

// catalogBuild makes an unsigned release from YAML and the departments' signed grants.
func catalogBuild(args []string, out io.Writer) error {
	f := flags("catalog build", "-keys DIR -grants FILE -number N -days N -out FILE DIR", "gateway catalog build -keys var/demo/keys -grants grants.jws -number 2 -previous DIGEST -out draft.json configs/demo/catalog")
	keys := f.String("keys", "", "${keys} 所指目录 / what ${keys} stands for")
	grants := f.String("grants", "", "各部门会签的授权，一行一个 / grants signed by their departments, one a line")
	number := f.Uint64("number", 1, "发布编号 / number of the release")
	previous := f.String("previous", "", "上一发布包的摘要 / digest of the release before")
	days := f.Int("days", 365, "有效天数 / days it is valid")
	file := f.String("out", "", "输出文件 / file to write")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	c, err := loadCatalogue(f.Arg(0), *keys)
	if err != nil {
		return err
	}
	text, err := assembly.Text(*grants)
	if err != nil {
		return err
	}
	now := time.Now()
	r, err := catalog.NewRelease(c, catalog.ReleaseOptions{Number: *number, Created: now, Expires: now.AddDate(0, 0, *days),
		Previous: *previous, Grants: strings.Fields(text)})
	if err != nil {
		return err
	}
	return saveRelease(r, *file, out)
}

func saveRelease(r *catalog.Release, file string, out io.Writer) error {
	data, err := r.Marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s  编号 / number %d  摘要 / digest %s\n", file, r.Number, r.Digest())
	return nil
}

// catalogSign adds one administrator's signature to a draft, after they have looked at it.
func catalogSign(args []string, out io.Writer) error {
	f := flags("catalog sign", "-key FILE RELEASE", "gateway catalog sign -key security-1.key draft.json")
	key := f.String("key", "", "安全管理员私钥 / the security administrator's private key")
	pass := f.String("passphrase", "", "口令文件 / file with the passphrase")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	k, err := jose.ReadKey(*key, *pass)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(f.Arg(0))
	if err != nil {
		return err
	}
	m, err := jose.ParseMultiSigned(data)
	if err != nil {
		return err
	}
	if err := m.AddSignature(k, catalog.TypeRelease); err != nil {
		return err
	}
	if data, err = m.Marshal(); err != nil {
		return err
	}
	if err := os.WriteFile(f.Arg(0), data, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "已签 / signed: %s（%s）\n", f.Arg(0), k.ID())
	return nil
}

func catalogPublish(args []string, out io.Writer) error {
	f := flags("catalog publish", "-admins FILES -releases DIR RELEASE", "gateway catalog publish -admins a.pub.pem,b.pub.pem -releases var/city/releases draft.json")
	admins := f.String("admins", "", "安全管理员公钥，逗号分隔 / public keys of the security administrators")
	dir := f.String("releases", "", "发布目录 / directory of releases")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	t, err := trustIn(*admins)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(f.Arg(0))
	if err != nil {
		return err
	}
	r, err := catalog.Publish(*dir, data, t)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "已发布 / published: %d，签名人 / signers %s\n", r.Number, strings.Join(r.Signers, " "))
	return nil
}
