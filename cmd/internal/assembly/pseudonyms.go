package assembly

import (
	"fmt"
	"log/slog"

	"yizheng/audit"
	"yizheng/audit/pseudod"
	"yizheng/audit/search"
	"yizheng/identity/staff"
)

// OpenPseudonyms opens the keys of the pseudonyms in this process, and says so,
// or reaches the service that has them. Persons are those who apply for and
// approve searches; a front processor has none.
func OpenPseudonyms(c AuditConfig, persons *staff.Register, log *slog.Logger, closers *Closers) (search.Pseudonyms, error) {
	if c.PseudonymSocket != "" {
		client := pseudod.NewClient(c.PseudonymSocket)
		closers.OnClose(client.Close)
		if err := client.Check(); err != nil {
			return nil, fmt.Errorf("audit.pseudonym_socket: %s: 须先启动假名服务（gateway pseudod），并把本进程的用户列入其 uids / start the pseudonym service first, with this process's user among its uids: %w", c.PseudonymSocket, err)
		}
		return client, nil
	}
	keys, err := audit.OpenPseudonyms(c.Pseudonyms)
	if err != nil {
		return nil, fmt.Errorf("audit.pseudonyms: %w", err)
	}
	log.Warn("pseudonym keys in this process (假名密钥在本进程中): whoever takes it over can relate the whole log to persons; see gateway pseudod -h", "dir", c.Pseudonyms)
	return search.NewVault(keys, persons, nil), nil
}
