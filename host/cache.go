package host

import (
	"container/list"
	"sync"
)

// cache keeps the values used last, up to a number. Many goroutines may use it.
type cache[K comparable, V any] struct {
	mu    sync.Mutex
	limit int
	byKey map[K]*list.Element
	order *list.List // newest first
}

type cached[K comparable, V any] struct {
	key   K
	value V
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{limit: limit, byKey: map[K]*list.Element{}, order: list.New()}
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[k]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(cached[K, V]).value, true //nolint:forcetypeassert // only put fills the list
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[k]; ok {
		e.Value = cached[K, V]{k, v}
		c.order.MoveToFront(e)
		return
	}
	c.byKey[k] = c.order.PushFront(cached[K, V]{k, v})
	if c.order.Len() > c.limit {
		old := c.order.Remove(c.order.Back()).(cached[K, V]) //nolint:forcetypeassert // as in get
		delete(c.byKey, old.key)
	}
}

// clear forgets everything.
func (c *cache[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.byKey)
	c.order.Init()
}
