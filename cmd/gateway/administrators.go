package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// AdministratorConfig is a person who administers seals and withdrawals, or looks
// after the audit log: never both. Each has one role; what matters needs two of them.
type AdministratorConfig struct {
	Name string     `yaml:"name"` // staff account
	Role staff.Role `yaml:"role"` // applicant (applies), security (decides), maker (makes seals); auditor (searches the log), approver (approves looking for a person); supervisor (decides about cards, issues orders), respondent (answers them)
	// Departments are the unified social credit codes, as in the certificates of their
	// seals, of those that an applicant acts for; a security administrator may be bound to
	// some, for seals and withdrawals; a respondent has the one whose orders they answer.
	// The other roles have none.
	Departments []string `yaml:"departments"`
	Key         string   `yaml:"key"`         // PEM of the person's SM2 public key, which signs what they decide
	Certificate string   `yaml:"certificate"` // PEM of their TLS client certificate, for /v1/admin; may be missing
	// Until ends what the person may sign, RFC 3339. Keep persons who left here:
	// what they signed must still be verified.
	Until assembly.End `yaml:"until"`
}

// persons reads the administrators' keys and certificates.
func (c *Config) persons() (*staff.Register, error) { return registerOf(c.Administrators) }

func registerOf(administrators []AdministratorConfig) (*staff.Register, error) {
	var list []staff.Person
	for i, a := range administrators {
		if zh, en := audit.NameFault(a.Name); zh != "" {
			return nil, fmt.Errorf("administrators[%d].name: %s / %s", i, zh, en)
		}
		p := staff.Person{Name: a.Name, Role: a.Role, Until: a.Until.Time, Departments: a.Departments}
		if !departmentsFit(a.Role, len(a.Departments)) {
			return nil, fmt.Errorf("administrators: %s: applicant 须用 departments 列出其单位的统一社会信用代码，respondent 列一个，security 可列，其他角色不列 / an applicant needs departments, the credit codes of their own, a respondent one of them; security may have some, other roles none", a.Name)
		}
		var err error
		if p.Key, err = jose.ReadPublicKey(a.Key); err != nil {
			return nil, fmt.Errorf("administrators: %s: %w", a.Name, err)
		}
		if a.Certificate != "" {
			if p.Certificate, err = certificateDigest(a.Certificate); err != nil {
				return nil, fmt.Errorf("administrators: %s: %s: %w", a.Name, a.Certificate, err)
			}
		}
		list = append(list, p)
	}
	return staff.NewRegister(list)
}

func departmentsFit(role staff.Role, n int) bool {
	switch role {
	case staff.Applicant:
		return n > 0
	case staff.Respondent:
		return n == 1
	case staff.Security:
		return true
	}
	return n == 0
}

// certificateDigest is catalog.KeyDigest of a PEM certificate's public key.
func certificateDigest(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", errors.New("no PEM certificate")
	}
	cert, err := smx509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	return catalog.KeyDigest(cert.RawSubjectPublicKeyInfo), nil
}
