// Package validate does the duties of a bonded validator: it attests to lots
// that it was drawn for, checks and signs the bundles of hosts, disputes false
// ones, tests whether hosts serve, and settles epochs together with the other
// validators.
//
// Everything follows from the newest state: what a record says now decides what
// to do, so that a reorganisation or a restart changes nothing but the work
// left. Every signature is durable before it leaves, and there is at most one
// for one question: a root for a host and beacon, a result for an epoch and fork.
//
// [Validator.Run] owns all goroutines: one a duty, woken by a new tip or by the
// clock. Handlers of requests and the exported methods may be called from many
// goroutines at once. The lines of an epoch come from package lines, the
// filters from package settle; where they run the caller decides.
package validate
