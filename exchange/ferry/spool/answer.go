package spool

// How a sender answers a question for missing files.

// onNack sends again what is asked for, or says that it will not come.
func (s *sender) onNack(n nackBody) error {
	s.mu.Lock()
	var resend []*sentFile
	var voids []voidBody
	for _, r := range n.ranges {
		last, known := s.last[n.epoch]
		if !known {
			voids = append(voids, voidBody{epoch: n.epoch, Range: r, reason: Lost})
			continue
		}
		r.To = min(r.To, last, r.From+Window)
		found, missing := s.sort(n.epoch, r)
		resend = append(resend, found...)
		voids = append(voids, missing...)
	}
	s.mu.Unlock()
	for _, f := range resend {
		if err := s.resend(f, "asked for"); err != nil {
			return err
		}
	}
	for _, v := range voids {
		s.link.control.void(v)
	}
	return nil
}

// sort splits a range into open files and voids. Files too old to be
// remembered were acknowledged: only acknowledged ones are forgotten.
func (s *sender) sort(epoch uint64, r Range) (open []*sentFile, voids []voidBody) {
	var run voidBody
	flush := func() {
		if run.From > 0 {
			voids = append(voids, run)
		}
		run = voidBody{}
	}
	i := 0
	for seq := r.From; seq <= r.To; seq++ {
		f := s.files[pos{epoch, seq}]
		if f != nil && f.state == stateOpen {
			flush()
			open = append(open, f)
			continue
		}
		if f == nil && i == 0 { // leap over what is forgotten, however much it is
			i++
			if first := s.firstKnown(epoch, r); first > seq+1 {
				flush()
				voids = append(voids, voidBody{epoch: epoch, Range: Range{seq, first - 1}, reason: Acknowledged})
				seq = first - 1
				continue
			}
		}
		reason, digest := Acknowledged, [32]byte{}
		if f != nil {
			digest = f.digest
			switch f.state {
			case stateExpired:
				reason = Expired
			case stateLost:
				reason = Lost
			}
		}
		if run.From > 0 && run.reason == reason && run.To+1 == seq {
			run.To, run.digest = seq, digest
			continue
		}
		flush()
		run = voidBody{epoch: epoch, Range: Range{seq, seq}, reason: reason, digest: digest}
	}
	flush()
	return open, voids
}

// firstKnown is the first sequence of r with a file, or one past its end.
func (s *sender) firstKnown(epoch uint64, r Range) uint64 {
	first := r.To + 1
	for p := range s.files {
		if p.epoch == epoch && p.seq >= r.From {
			first = min(first, p.seq)
		}
	}
	return first
}
