package pdf

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"yizheng/catalog/beijing"
)

// Geometry of the A4 page in points; y grows upwards.
const (
	pageWidth  = 595.28
	pageHeight = 841.89
	frame      = 34.0 // outer frame from the paper's edge
	left       = 68.0
	right      = pageWidth - left
	textWidth  = right - left
	topFirst   = pageHeight - 78 // where the title of the first page begins
	topNext    = pageHeight - 86 // where the text of later pages begins
	bottom     = 82.0            // lowest text above the foot
	mm         = 72 / 25.4
)

var (
	ink    = shade{0.09, 0.09, 0.11}
	soft   = shade{0.27, 0.29, 0.33}
	accent = shade{0.12, 0.27, 0.40}
	rule   = shade{0.45, 0.55, 0.64}
	tint   = shade{0.935, 0.955, 0.97}
	ghost  = shade{0.87, 0.89, 0.91}
	alarm  = shade{0.62, 0.20, 0.08}
	warm   = shade{0.995, 0.96, 0.925}
)

// The words that the writer itself puts on a page.
const (
	wordNumber    = "编号："
	wordContinued = "（续）"
	wordPurpose   = "使用用途"
	wordItem      = "办理事项"
	wordDataTime  = "数据截至"
	wordValid     = "有效期至"
	wordSource    = "数据来源"
	wordNotes     = "说明"
	wordCaution   = "注意："
	wordScan      = "扫码验真"
	ownWords      = wordNumber + wordContinued + wordPurpose + wordItem + wordDataTime + wordValid +
		wordSource + wordNotes + wordCaution + wordScan + "第页共年月日时分 ．0123456789"
)

func dateText(t time.Time) string {
	t = t.In(beijing.Zone())
	return strconv.Itoa(t.Year()) + "年" + strconv.Itoa(int(t.Month())) + "月" + strconv.Itoa(t.Day()) + "日"
}

func minuteText(t time.Time) string {
	t = t.In(beijing.Zone())
	return dateText(t) + t.Format("15时04分")
}

// layout places one document on pages.
type layout struct {
	fonts       *Fonts
	prefix      *prefix
	doc         *Document
	code        *qrCode // nil when the document has none
	colors      []byte  // for an archive
	desk        *desk
	sheet       *sheet    // for the text that is laid out now
	subsets     []*subset // what each font of the chain adds to the prefix
	pages       []*content
	y           float64 // next free height on the current page
	unsealed    bool    // there is no signature, nor its field
	air         float64 // share of the usual space between parts and within rows
	opening     *opening
	tail        tail
	seal        [4]float64
	pattern     *content
	patternStep [2]float64
	err         error
}

func newLayout(fonts *Fonts, p *prefix, d *Document, on *desk) *layout {
	return &layout{fonts: fonts, prefix: p, doc: d, desk: on, sheet: &on.text, subsets: on.subsets, air: 1}
}

// tight is the least share of the usual space that still reads well.
const tight = 0.4

func (l *layout) run() error {
	l.restart(1)
	if !l.onOnePage() {
		l.together(l.end)
	}
	l.feet()
	return l.err
}

// onOnePage sets a short document, closer where its end would else come on a second
// page. When that does not help, the document is as it was, without its end.
func (l *layout) onOnePage() bool {
	if !l.body() {
		return false
	}
	for _, air := range []float64{1, 0.7, tight} {
		if air < 1 {
			l.restart(air)
			l.body()
		}
		if l.end(); len(l.pages) == 1 {
			return true
		}
	}
	l.restart(1)
	l.body()
	return false
}

// restart begins the document anew with so much space.
func (l *layout) restart(air float64) {
	l.air, l.pages, l.tail.pages = air, l.pages[:0], 0
	l.sheet.clear()
	l.newPage()
}

// body sets what stands before the end, and reports whether that is one page.
func (l *layout) body() bool {
	l.title()
	l.paragraphs(l.doc.Body)
	l.caution()
	l.labelled(l.doc.Rows, nil)
	for _, t := range l.doc.Tables {
		l.table(t)
	}
	for _, r := range l.doc.Records {
		l.record(r)
	}
	return len(l.pages) == 1
}

// end sets what nobody should have to look for on another page than the last facts.
func (l *layout) end() {
	l.paragraphs(l.doc.Conclusion)
	l.labelled(l.facts(), nil)
	l.closing()
}

// together keeps what draw sets on one page. What crosses the end of a page is taken
// back and set with less space or, if that is not enough, on the next page behind
// the last row of what went before: a page that holds a seal and no fact could be
// put behind any other document.
func (l *layout) together(draw func()) {
	before, last := l.mark(), l.tail
	last.cells = slices.Clone(last.cells) // draw sets rows too
	for _, air := range []float64{1, tight} {
		l.air = air
		draw()
		if len(l.pages) == before.pages || l.err != nil {
			return
		}
		l.back(before)
	}
	l.air = 1
	l.carry(last)
	draw()
}

// mark is a place in the document to go back to.
type mark struct {
	pages int
	page  content
	y     float64
}

func (l *layout) mark() mark { return mark{len(l.pages), *l.page(), l.y} }

func (l *layout) back(to mark) {
	l.pages, l.y = l.pages[:to.pages], to.y
	c := l.page()
	to.page.b = c.b[:len(to.page.b)] // which has grown, and has to be wiped
	*c = to.page
}

// facts are the lines that every certificate carries about its own use.
func (l *layout) facts() []Row {
	d := l.doc
	rows := []Row{{wordItem, d.ItemName}, {wordPurpose, d.Purpose}, {wordDataTime, ""}, {wordValid, ""}, {wordSource, d.Authenticity}}
	if !d.DataTime.IsZero() {
		rows[2].Value = minuteText(d.DataTime)
	}
	if !d.ValidUntil.IsZero() {
		rows[3].Value = dateText(d.ValidUntil)
	}
	kept := rows[:0]
	for _, r := range rows {
		if r.Value != "" {
			kept = append(kept, r)
		}
	}
	return kept
}

func (l *layout) page() *content { return l.pages[len(l.pages)-1] }

func (l *layout) newPage() {
	if len(l.pages) >= maxPages {
		if l.err == nil {
			l.err = fmt.Errorf("%w: more than %d pages", ErrDocument, maxPages)
		}
		l.pages[len(l.pages)-1].b = l.pages[len(l.pages)-1].b[:0]
		l.y = topNext
		return
	}
	l.pages = append(l.pages, l.desk.page(len(l.pages)))
	l.y = topNext
	l.ground()
	if len(l.pages) > 1 {
		l.runningHead()
	}
}

// room begins a new page unless h points are free.
func (l *layout) room(h float64) {
	if l.y-h < bottom {
		l.newPage()
	}
}

// baseline returns the baseline of a line of the given height that begins at
// the current y: Chinese characters stand in its middle.
func (l *layout) baseline(height, size float64) float64 { return l.y - height/2 - 0.37*size }
