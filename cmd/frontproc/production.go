package main

import "yizheng/cmd/internal/assembly"

// strict holds an agent's production configuration to what production demands.
// It names every violation at once; a demo configuration passes.
func (c *Config) strict() error {
	if c.Mode != "production" {
		return nil
	}
	var s assembly.Strictness
	s.PrivateKeys(c.Key, c.Audit.Key)
	s.PseudonymKey("audit.pseudonym_key", c.Audit.Pseudonyms, c.Audit.PseudonymKey)
	s.Secrets(c.Passphrase)
	s.Connections(c.Connections)
	s.Log(c.Audit.Dir)
	s.StrictWitnesses(c.Audit.Witnesses)
	if t := c.Audit.Timestamp; t != nil {
		s.Certificates(t.CA)
	}
	c.Kafka.strict(&s)
	c.Spool.strict(&s, c.Reads != "")
	return s.Err()
}

func (c *RelayConfig) strict() error {
	if c.Mode != "production" {
		return nil
	}
	var s assembly.Strictness
	s.Secrets(c.Passphrase)
	c.Kafka.strict(&s)
	c.Spool.strict(&s, c.Deferred)
	return s.Err()
}

func (k *KafkaConfig) strict(s *assembly.Strictness) {
	if k != nil {
		s.Certificates(k.CA, k.Certificate)
		s.Secrets(k.Key)
	}
}

func (c *SpoolConfig) strict(s *assembly.Strictness, deferred bool) {
	if c != nil {
		s.PrivateKeys(c.Key)
		if deferred && !c.Durable {
			s.Bad("spool.durable", "有延时办理的数据源，断电不得丢失，须为 true", "questions that may take days must outlive a power cut: it has to be true")
		}
		if c.Inspection == inspectNothing && c.Exemption == "" {
			s.Bad("spool.exemption", "网闸不检查内容（opaque）须有批准文号", "a device that looks into nothing (opaque) needs the number of its exemption")
		}
	}
}
