package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/cmd/gateway/setup"
	"yizheng/identity/jose"
)

// witnessName is that of the audit office's witness.
const witnessName = "witness.audit.690100.example"

// startWitness starts the audit office's witness of the gateway's log.
func (c *City) startWitness(ctx context.Context) error {
	o := setup.Options{Dir: c.State, Hosts: []string{"localhost", "127.0.0.1"}, Now: c.began}
	if err := errors.Join(setup.KeyPair(o, "keys/witness"), setup.IssueServer(o, "keys/tls/witness", "witness"),
		setup.IssueClient(o, "keys/tls/gateway-client", "gw00"), os.MkdirAll(c.in("witness"), 0o700)); err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	err := c.writeYAML("witness.yaml", m{
		"name": witnessName, "listen": "127.0.0.1:0", "dir": "witness", "key": "keys/witness.key",
		"tls":  m{"certificate": "keys/tls/witness.crt", "key": "keys/tls/witness.key", "client_ca": "keys/tls/ca.crt"},
		"logs": []m{{"origin": origin, "keys": []string{"keys/audit.pub.pem"}}},
	})
	if err != nil {
		return err
	}
	p, err := c.start(ctx, "gateway", "witness", "-config", c.in("witness.yaml"))
	if err != nil {
		return err
	}
	e, err := c.await(ctx, p, "listening")
	c.witness = e["addr"]
	return err
}

// witnesses is what the gateway knows of it.
func (c *City) witnesses() []m {
	return []m{{"name": witnessName, "url": "https://" + c.witness, "key": "keys/witness.pub.pem", "ca": "keys/tls/ca.crt",
		"certificate": "keys/tls/gateway-client.crt", "tls_key": "keys/tls/gateway-client.key"}}
}

// verifyWitnessed holds the closed log to what the witness has cosigned last.
func (c *City) verifyWitnessed(ctx context.Context, w io.Writer) bool {
	size, err := func() (uint64, error) {
		logKey, err := jose.ReadPublicKey(c.in("keys/audit.pub.pem"))
		if err != nil {
			return 0, err
		}
		key, err := jose.ReadPublicKey(c.in("keys/witness.pub.pem"))
		if err != nil {
			return 0, err
		}
		note, err := os.ReadFile(c.in("audit-witnessed"))
		if err != nil {
			return 0, err
		}
		shards, err := auditor.Dirs(c.in("audit"))
		if err != nil {
			return 0, err
		}
		o := auditor.Options{Keys: verifyOptions(logKey).Keys,
			Witnesses: auditor.Witnesses{By: []audit.WitnessKey{{Name: witnessName, Key: key}}, Notes: [][]byte{note}}}
		var problems []error
		if _, err := auditor.VerifyChain(ctx, shards, o, func(s auditor.Shard) error {
			for _, p := range s.Problems {
				problems = append(problems, errors.New(p.Text))
			}
			return nil
		}); err != nil {
			return 0, err
		}
		head, err := audit.ParseCheckpoint(note)
		return head.Size, errors.Join(append(problems, err)...)
	}()
	if err != nil {
		fmt.Fprintf(w, "  ✗ 审计办公室的见证：%v\n", err)
		return false
	}
	fmt.Fprintf(w, "  ✓ 审计办公室已见证前 %d 条\n", size)
	return true
}
