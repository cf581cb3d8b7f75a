package assembly

import (
	"fmt"
	"log/slog"

	"yizheng/audit"
	"yizheng/audit/pseudod"
	"yizheng/audit/search"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// OpenPseudonyms opens the keys of the pseudonyms in this process, and says so,
// or reaches the service that has them. Persons are those who apply for and
// approve searches, of whom a front processor has none, and those who look after the
// keys. passphrase is the file with that of audit.pseudonym_key.
func OpenPseudonyms(c AuditConfig, passphrase string, persons *staff.Register, log *slog.Logger, closers *Closers) (search.Pseudonyms, error) {
	if c.PseudonymSocket != "" {
		client := pseudod.NewClient(c.PseudonymSocket)
		closers.OnClose(client.Close)
		if err := client.Check(); err != nil {
			return nil, fmt.Errorf("audit.pseudonym_socket: %s: 须先启动假名服务（gateway pseudod），并把本进程的用户列入其 uids / start the pseudonym service first, with this process's user among its uids: %w", c.PseudonymSocket, err)
		}
		return client, nil
	}
	keys, err := OpenPseudonymKeys(c.Pseudonyms, c.PseudonymKey, passphrase, persons)
	if err != nil {
		return nil, fmt.Errorf("audit.pseudonyms: %w", err)
	}
	log.Warn("pseudonym keys in this process (假名密钥在本进程中): whoever takes it over can relate the whole log to persons; see gateway pseudod -h", "dir", c.Pseudonyms)
	return search.NewVault(keys, persons, nil), nil
}

// OpenPseudonymKeys opens a directory of keys. key is the SM2 private key that they
// are encrypted to, "" if they lie in clear; passphrase is its file. Persons are
// those whose steps with the keys are believed.
func OpenPseudonymKeys(dir, key, passphrase string, persons *staff.Register) (*audit.Pseudonyms, error) {
	keys, err := openKeys(dir, key, passphrase)
	if err != nil {
		return nil, err
	}
	return keys, keys.Believe(pseudod.Proof(persons))
}

func openKeys(dir, key, passphrase string) (*audit.Pseudonyms, error) {
	if key == "" {
		return audit.OpenPseudonyms(dir)
	}
	kek, err := jose.ReadKey(key, passphrase)
	if err != nil {
		return nil, err
	}
	return audit.OpenProtectedPseudonyms(dir, pseudod.Wrap(kek))
}

// PseudonymKey is what has to protect the keys of pseudonyms where they are in
// this process; where is the setting that names it.
func (s *Strictness) PseudonymKey(where, dir, key string) {
	switch {
	case dir == "":
	case key == "":
		s.Bad(where, "假名密钥未加密：请用 gateway keys new 生成保护密钥，运行 gateway pseudod protect，再在此写明", "pseudonym keys lie in clear: make a key with gateway keys new, run gateway pseudod protect, and name it here")
	default:
		s.PrivateKeys(key)
	}
}
