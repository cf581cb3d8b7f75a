// Package supervise watches the exchange itself: it reads the audit log as it
// grows, holds every entry against rules, and raises yellow and red cards that
// a supervisor confirms or dismisses, and may follow up with an order that must
// be answered (电子监察, 国办函〔2016〕108号).
//
// # Rules
//
// A directory of YAML files, one an indicator; an indicator is made of rules:
//
//	indicator: INTEGRITY
//	kind: integrity            # timeliness, process, content, overreach, integrity
//	name: 廉政风险
//	name_en: Integrity risk
//	rules:
//	  - id: IR-01
//	    version: 1             # raised with every change
//	    name: 一小时内查询过多
//	    name_en: Too many queries in an hour
//	    state: "on"            # or off
//	    on: [query]            # operations it looks at
//	    where: phase == "intent" and leg == ""
//	    windows:
//	      n: {count: entries, per: [actor], over: 1h}
//	    when: n > 30           # and, or, not; comparisons; + - * / %
//	    card: yellow
//	    red_when: n > 60
//	    red_after: {yellows: 3, within: 720h}
//	    about: [actor]         # cards about one of these are counted and quietened together
//	    quiet: 1h              # at most one card about the same in that time
//	    to: operator           # who has to look after it
//
// A window counts the entries the rule looks at (or sums one of their numbers,
// or counts the distinct values of one of their texts) for each value of per,
// over a time that slides in sixtieths. A rule with await, in place of when,
// is about what did not happen: no entry that fits within a time.
//
//	await: {on: [query], where: phase == "intent", match: [system, subject], within: 30 * MINUTE}
//	scan: 10m                  # looked at every ten minutes; default: at once
//
// Conditions are compiled when the files are read, by github.com/expr-lang/expr
// with everything disabled that could take long or yield less than an answer:
// no calls, no loops, no floats; integer arithmetic is checked. A condition that
// fails all the same (a division by zero) raises a card of its own. So a rule
// is either followed or known not to be.
//
// # State
//
// Everything is folded from the log: windows, what is awaited, statistics, and
// the cards and orders themselves, each step of which is an entry
// (supervise.card, supervise.order). Reading the same log again yields the same
// state. A snapshot on disk only saves time, and can be deleted. It is signed
// together with the root of the log that it was read from; one that was changed,
// or is not of this log, is not used: the log is read again, an alarm says so
// (SUPERVISION_STATE), and a rule can make a card of that. Rules apply
// from the entry on that records them (supervise.rules); a rebuild judges
// nothing by rules, or by a catalogue, that did not hold at the time.
//
// The state holds accounts, codes and pseudonyms, nothing of a resident. Of a
// sensitive proof it knows what the open half says.
//
// # Relatives
//
// Whom an account may not look up is entered by number and kept by pseudonym, in a
// file that the log names by digest (supervise.relatives). One person enters a list
// and another approves it by entering it again: who could enter numbers alone would
// learn from the cards who is looked up. See relatives.go and proposal.go.
package supervise
