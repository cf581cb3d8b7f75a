package pdf

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// char is one code point as it will be drawn: the font's number on the page (see
// fontKey), the CID in that font and the advance in thousandths of an em.
type char struct {
	r     rune
	cid   uint16
	width uint16
	font  uint8
	glued bool // no line ends behind it
}

// sheet is memory for text while it is laid out: characters, and the lines that they
// were broken into.
type sheet struct {
	chars []char
	lines [][]char
}

func (s *sheet) clear() { s.chars, s.lines = s.chars[:0], s.lines[:0] }

// shape turns a line of text without '\n' into characters on the current sheet and
// notes them in the subsets. The text has passed checkGlyphs.
func (l *layout) shape(s string) []char {
	arena := l.sheet.chars
	from := len(arena)
	for _, r := range s {
		if cid := l.prefix.cids.get(r); cid != 0 {
			arena = append(arena, char{r: r, cid: cid, width: l.prefix.common.widths[cid-1]})
			continue
		}
		i, gid := l.fonts.find(r)
		sub := l.subsets[i]
		cid := sub.use(r, gid)
		arena = append(arena, char{r: r, cid: cid, width: sub.widths[cid-1], font: uint8(i + 1)})
	}
	l.sheet.chars = arena
	chars := arena[from:len(arena):len(arena)]
	for _, word := range l.doc.Together {
		glue(chars, s, word)
	}
	return chars
}

// glue marks every place where word stands in s, the text of chars.
func glue(chars []char, s, word string) {
	n, at := utf8.RuneCountInString(word), 0
	for before, after, found := strings.Cut(s, word); found && n > 1; before, after, found = strings.Cut(after, word) {
		at += utf8.RuneCountInString(before)
		for i := range chars[at : at+n-1] {
			chars[at+i].glued = true
		}
		at += n
	}
}

// width is the length of chars in points at a font size in points.
func width(chars []char, size float64) float64 {
	n := 0
	for _, c := range chars {
		n += int(c.width)
	}
	return float64(n) * size / 1000
}

const (
	noLineStart = "、。，．：；！？）】》」』〉〕｝］…—～·•‧％‰℃〗’”,.:;!?)]}%°"
	noLineEnd   = "（【《「『〈〔｛［〖‘“([{￥¥$"
)

// joined reports whether a line must not be broken between a and b: inside a
// run of Latin letters or figures, before closing and after opening punctuation.
func joined(a, b rune) bool {
	if a == ' ' || b == ' ' {
		return b == ' '
	}
	if run(a) && run(b) {
		return true
	}
	return strings.ContainsRune(noLineStart, b) || strings.ContainsRune(noLineEnd, a)
}

// pairs are units of more than one character, and words that labels are made of,
// in pairs that stay together.
const pairs = "个月 平方 方米 万元 亿元 千克 工作 作日 小时 " +
	"证明 编号 证号 号码 姓名 关系 原因 类别 类型 查询 询人 日期 时间 状态 机关 机构 机动 单位 金额 " +
	"累积 积分 记分 周期 登记 医学 公司 责任 社会 信用 代码 综合 所得 工资 薪金 合作 作社 管理 理局 中心"

// kept reports whether chars[i-1] and chars[i] belong to one thing that is read in
// one go: a word of Document.Together, a figure and its unit (30日, 14 户), a date
// (2026年11月22日). A line is broken there only if the thing alone fills it.
func kept(chars []char, i int) bool {
	a, b := chars[i-1].r, chars[i].r
	switch {
	case chars[i-1].glued:
		return true
	case digit(a):
		return unicode.Is(unicode.Han, b)
	case a == ' ':
		return i > 1 && digit(chars[i-2].r) && unicode.Is(unicode.Han, b)
	case digit(b):
		return a == '年' || a == '月' || a == '时'
	}
	return unicode.Is(unicode.Han, a) && strings.Contains(pairs, string([]rune{a, b}))
}

func digit(r rune) bool { return '0' <= r && r <= '9' }

func run(r rune) bool { return r > ' ' && r < 0x250 && r != 0xB7 }

// wrap breaks chars into lines of at most width points; the first is shorter by
// indent. A run that does not fit on a line of its own is broken anywhere.
// Spaces at a break are dropped.
func (s *sheet) wrap(chars []char, size, width, indent float64) [][]char {
	from := len(s.lines)
	limit := (width-indent)*1000/size + 0.5
	for len(chars) > 0 {
		n, used := 0, 0.0
		for n < len(chars) && (used+float64(chars[n].width) <= limit || n == 0) {
			used += float64(chars[n].width)
			n++
		}
		if n < len(chars) {
			n = lineBreak(chars, n)
		}
		s.lines = append(s.lines, trimSpaces(chars[:n]))
		chars = chars[n:]
		for len(chars) > 0 && chars[0].r == ' ' {
			chars = chars[1:]
		}
		limit = width*1000/size + 0.5
	}
	return s.lines[from:len(s.lines):len(s.lines)]
}

// wrapWell wraps like wrap, but does not leave one or two characters alone on the
// last line when a little less width gives them company.
func (s *sheet) wrapWell(chars []char, size, width, indent float64) [][]char {
	lines := s.wrap(chars, size, width, indent)
	n := len(lines)
	for narrower := width - size; n > 1 && len(lines[n-1]) <= 2 && narrower > width-4*size; narrower -= size {
		again := s.wrap(chars, size, narrower, indent)
		if len(again) != n {
			break
		}
		lines = again
	}
	return lines
}

// lineBreak returns where to break before n, the first character that does not
// fit: where nothing is torn; else within a date or name, but not within a figure;
// n itself when there is no good place.
func lineBreak(chars []char, n int) int {
	for _, torn := range []bool{false, true} {
		for i := n; i > 0; i-- {
			if !joined(chars[i-1].r, chars[i].r) && (torn || !kept(chars, i)) {
				return i
			}
		}
	}
	return n
}

// longest is the width in ems of the longest part of chars that is kept on a line.
func longest(chars []char) float64 {
	most, from := 0.0, 0
	for i := 1; i <= len(chars); i++ {
		if i == len(chars) || !joined(chars[i-1].r, chars[i].r) && !kept(chars, i) {
			most, from = max(most, width(trimSpaces(chars[from:i]), 1)), i
		}
	}
	return most
}

func trimSpaces(chars []char) []char {
	for len(chars) > 0 && chars[len(chars)-1].r == ' ' {
		chars = chars[:len(chars)-1]
	}
	return chars
}
