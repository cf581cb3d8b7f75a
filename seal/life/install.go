package life

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"yizheng/seal"
	"yizheng/seal/keystore"
)

// install makes the directory of a seal what the steps say. It changes nothing
// that is right, so that doing it again after a crash, when the register is opened
// next, finishes it: the journal is the truth and these files are its copy. The
// keys alone are only here.
func (r *Register) install(id string) error {
	if err := r.installSeal(filepath.Join(r.dir, id), r.book.seals[id]); err != nil {
		r.unfinished[id] = true
		return fmt.Errorf("%w: %s: %w", ErrFiles, id, err)
	}
	delete(r.unfinished, id)
	return nil
}

// Unfinished reports whether files of a seal could not be made, so that Reload has
// something to try again.
func (r *Register) Unfinished() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.unfinished) > 0
}

func (r *Register) installSeal(dir string, s *Seal) error {
	if s.State == Destroyed {
		return destroy(dir)
	}
	state, ok := s.State.Usable()
	if !ok || s.Current == nil {
		return nil
	}
	files, err := seal.Files(s.Current.ESeal, s.Current.Holder, state, s.Since)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range files {
		if err := replaceFile(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	return r.dropKeys(dir, s)
}

// dropKeys removes the keys of editions that were replaced, once the key of the
// present one is there.
func (r *Register) dropKeys(dir string, s *Seal) error {
	own := keystore.FileName(s.Current.Kid)
	if _, err := os.Stat(filepath.Join(dir, own)); err != nil {
		return nil // under the old name, at the department, or not here yet
	}
	keys, err := keystore.Files(dir)
	if err != nil {
		return err
	}
	for _, k := range keys {
		waiting := s.Pending != nil && s.Pending.Edition != nil && filepath.Base(k) == keystore.FileName(s.Pending.Edition.Kid)
		if filepath.Base(k) != own && !waiting {
			if err := erase(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// destroy erases a seal's keys and removes its directory. The journal keeps what
// the seal was; nothing can sign with it any more.
func destroy(dir string) error {
	keys, err := keystore.Files(dir)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := erase(k); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// erase overwrites a file before it is removed. Storage that writes elsewhere may
// keep the old bytes: that is why keys are encrypted.
func erase(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}

// replaceFile writes a file unless it has that content; a reader sees the old or
// the new one, never a part. It is not synced: what a crash spoils is made again.
func replaceFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is there after the rename
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// MarshalJSON shows a seal without its pictures and certificates.
func (s Seal) MarshalJSON() ([]byte, error) {
	type edition struct {
		ESID   string `json:"esid"`
		Name   string `json:"name"`
		Kid    string `json:"kid"`
		Issued string `json:"issued,omitempty"`
	}
	type pending struct {
		Action Action `json:"action"`
		Stage  State  `json:"stage"`
		Asked  string `json:"asked"`
		By     string `json:"by"`
		Reason Reason `json:"reason,omitempty"`
	}
	v := struct {
		ID      string   `json:"id"`
		State   State    `json:"state"`
		Since   string   `json:"since"`
		Current *edition `json:"current,omitempty"`
		Pending *pending `json:"pending,omitempty"`
	}{ID: s.ID, State: s.State, Since: s.Since.Format("2006-01-02T15:04:05Z")}
	if c := s.Current; c != nil {
		v.Current = &edition{c.ESID, c.Name, c.Kid, c.Issued.Format("2006-01-02T15:04:05Z")}
	}
	if c := s.Pending; c != nil {
		v.Pending = &pending{c.Action, c.Stage, c.Asked, c.By, c.Reason}
	}
	return json.Marshal(v)
}
