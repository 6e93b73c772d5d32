package settle

// schema lists the keys of a kind of line in canonical order.
type schema struct {
	fields []field
	drop   []string // keys of the document that carry nothing here
}

type field struct {
	name     string
	fallback string // value of an absent key; "" and not optional: the key is required
	optional bool   // an absent key stays absent
}

const maxFields = 16

// canonical rewrites one object with its keys in any order and blanks between
// tokens into the canonical order. It knows objects of plain strings, integers
// and lists of these, nothing else: no escapes, no nesting, no unknown or
// repeated key. Values are copied as they stand and judged by the scanner.
func (sc *schema) canonical(dst, line []byte) ([]byte, bool) {
	var values [maxFields][]byte
	t := tokens{b: line}
	t.want('{')
	for more := !t.try('}'); more && !t.bad; {
		name := t.word()
		t.want(':')
		value := t.value()
		at := sc.find(name)
		if t.bad || at < 0 && !sc.dropped(name) || at >= 0 && values[at] != nil {
			return nil, false
		}
		if at >= 0 {
			values[at] = value
		}
		if more = t.try(','); !more {
			t.want('}')
		}
	}
	t.blank()
	if t.bad || t.at != len(line) {
		return nil, false
	}
	return sc.compose(dst, &values)
}

func (sc *schema) compose(dst []byte, values *[maxFields][]byte) ([]byte, bool) {
	sep := byte('{')
	for i, f := range sc.fields {
		value := values[i]
		if value == nil {
			if f.optional {
				continue
			}
			if f.fallback == "" {
				return nil, false
			}
			value = []byte(f.fallback)
		}
		dst = append(dst, sep, '"')
		dst = append(dst, f.name...)
		dst = append(dst, '"', ':')
		dst = append(dst, value...)
		sep = ','
	}
	return append(dst, '}'), true
}

func (sc *schema) find(name []byte) int {
	for i := range sc.fields {
		if string(name) == sc.fields[i].name {
			return i
		}
	}
	return -1
}

func (sc *schema) dropped(name []byte) bool {
	for _, d := range sc.drop {
		if string(name) == d {
			return true
		}
	}
	return false
}

// tokens cuts a line into the tokens of JSON's smallest useful subset.
type tokens struct {
	b   []byte
	at  int
	bad bool
}

func (t *tokens) blank() {
	for t.at < len(t.b) && (t.b[t.at] == ' ' || t.b[t.at] == '\t' || t.b[t.at] == '\r') {
		t.at++
	}
}

func (t *tokens) try(c byte) bool {
	t.blank()
	if t.bad || t.at == len(t.b) || t.b[t.at] != c {
		return false
	}
	t.at++
	return true
}

func (t *tokens) want(c byte) {
	if !t.try(c) {
		t.bad = true
	}
}

// quoted reads a string and gives it with its quotes: printable ASCII without
// backslash.
func (t *tokens) quoted() []byte {
	t.blank()
	start := t.at
	t.want('"')
	for t.at < len(t.b) && t.b[t.at] >= 0x20 && t.b[t.at] < 0x7f && t.b[t.at] != '"' && t.b[t.at] != '\\' {
		t.at++
	}
	t.want('"')
	if t.bad {
		return nil
	}
	return t.b[start:t.at]
}

func (t *tokens) word() []byte {
	q := t.quoted()
	if len(q) < 2 {
		return nil
	}
	return q[1 : len(q)-1]
}

// scalar reads a string or something that may be a number.
func (t *tokens) scalar() []byte {
	t.blank()
	if t.at < len(t.b) && t.b[t.at] == '"' {
		return t.quoted()
	}
	start := t.at
	for t.at < len(t.b) && (t.b[t.at] == '-' || t.b[t.at]-'0' <= 9) {
		t.at++
	}
	if t.at == start {
		t.bad = true
	}
	return t.b[start:t.at]
}

func (t *tokens) value() []byte {
	if !t.try('[') {
		return t.scalar()
	}
	list := []byte{'['}
	for more := !t.try(']'); more && !t.bad; {
		list = append(list, t.scalar()...)
		if more = t.try(','); more {
			list = append(list, ',')
		} else {
			t.want(']')
		}
	}
	return append(list, ']')
}
