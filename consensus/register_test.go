package consensus_test

import (
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/types"
)

// K2: the device that acts for an account is the one that it registered; another
// takes over when two full epochs went by without a log of the old one.
func TestK2(t *testing.T) {
	l := start(t, 2, nil)
	none := registration(0, types.RoleHost)
	none.Device = types.Device{}
	l.refuse(0, types.KindRegister, none, "names no device")

	l.register(types.RoleHost, 0)
	other := registration(7, types.RoleHost)
	l.toEpoch(3)
	l.do(0, types.KindLog, l.claim(0, 2)) // the old device worked in epoch 2
	for e := types.Epoch(3); e <= 4; e++ {
		l.toEpoch(e)
		l.refuse(0, types.KindRegister, other, "the device before acted in epoch 2")
		l.to(l.rules().Checkpoint(e) - 1)
		l.refuse(0, types.KindRegister, other, "the device before acted in epoch 2")
		same := registration(0, types.RoleHost|types.RoleRelay) // the device itself may change its row
		if _, left := l.predict(l.sign(0, types.KindRegister, same)); len(left) != 0 {
			t.Fatalf("epoch %d: own change: %v", e, left[0].Why)
		}
	}
	l.toEpoch(5)
	l.do(0, types.KindRegister, other)
	rec := got[*types.RegistryRecord](l)(l.view().Registry(l.id(0)))
	if rec.Register.Device != chaintest.Device(7) || rec.Time != l.tip.Header.Time {
		t.Fatalf("registry %+v", rec)
	}
	// An account that acts in no role, or never acted, changes its device freely.
	l.register(0, 1)
	l.do(1, types.KindRegister, registration(7, types.RoleHost))
	l.do(1, types.KindRegister, registration(8, types.RoleHost))
}

// TestRoleLists: who is drawn from follows the registrations.
func TestRoleLists(t *testing.T) {
	l := start(t, 4, nil)
	all := types.RoleHost | types.RoleEncoder | types.RoleValidator | types.RoleSponsor | types.RoleRelay
	l.register(all, 0, 1, 2)
	l.register(types.RoleHost, 1)
	l.register(0, 0)
	for role, want := range map[types.Roles]int{
		types.RoleHost: 2, types.RoleEncoder: 1, types.RoleValidator: 1, types.RoleSponsor: 1, types.RoleRelay: 1,
	} {
		list := got[[]types.Account](l)(l.view().Role(role))
		if len(list) != want {
			t.Errorf("%d accounts are %s, want %d", len(list), role, want)
		}
		for i := 1; i < len(list); i++ {
			if string(list[i-1][:]) >= string(list[i][:]) {
				t.Errorf("the list of %s does not ascend", role)
			}
		}
	}
}

// TestRegisterDelay: where registrations count later, the first does and changes
// of an acting one do not wait.
func TestRegisterDelay(t *testing.T) {
	l := start(t, 2, func(g *types.Genesis) { g.Rules.RegisterDelay = 2 })
	from := func() types.Epoch {
		return got[*types.RegistryRecord](l)(l.view().Registry(l.id(0))).From
	}
	l.toEpoch(1)
	l.register(types.RoleHost, 0)
	if from() != 3 {
		t.Fatalf("counts from epoch %d, want 3", from())
	}
	l.toEpoch(2)
	l.register(types.RoleHost, 0)
	if from() != 4 {
		t.Fatalf("a change before it counts: from epoch %d, want 4", from())
	}
	l.toEpoch(5)
	l.register(types.RoleHost|types.RoleRelay, 0)
	if from() != 4 {
		t.Fatalf("a change of an acting registration: from epoch %d, want 4", from())
	}
}

// ST8.1: coins back the downloads of the running or the next epoch; what is left
// comes back when the epoch is paid or given up.
func TestST8_1(t *testing.T) {
	l := start(t, 2, nil)
	l.toEpoch(2)
	for _, e := range []types.Epoch{0, 1, 4, 1 << 39} {
		l.refuse(0, types.KindLock, &types.Lock{Epoch: e, Amount: 5}, "want this one or the next")
	}
	l.refuse(0, types.KindLock, &types.Lock{Epoch: 2}, "lock of 0")
	l.refuse(0, types.KindLock, &types.Lock{Epoch: 2, Amount: coins}, "balance after the fee is")
	l.do(0, types.KindLock, &types.Lock{Epoch: 2, Amount: 5 * types.Coin})
	l.do(0, types.KindLock, &types.Lock{Epoch: 2, Amount: 2 * types.Coin}) // adds
	l.do(0, types.KindLock, &types.Lock{Epoch: 3, Amount: types.Coin})
	l.do(1, types.KindLock, &types.Lock{Epoch: 2, Amount: types.Coin})
	locked := func(i int, e types.Epoch) types.Amount {
		rec := got[*types.LockRecord](l)(l.view().Lock(l.id(i), e))
		if rec == nil {
			return 0
		}
		return rec.Amount
	}
	if locked(0, 2) != 7*types.Coin || locked(0, 3) != types.Coin || l.acc(0).Locked != 8*types.Coin {
		t.Fatalf("locks %s and %s, in all %s", locked(0, 2), locked(0, 3), l.acc(0).Locked)
	}
	l.balanced()
	// No result of epoch 2 comes: it is given up at checkpoint 10.
	l.to(l.rules().Checkpoint(2+8) - 1)
	if locked(0, 2) == 0 || locked(1, 2) == 0 {
		t.Fatal("a lock came back early")
	}
	l.mine()
	if locked(0, 2) != 0 || locked(1, 2) != 0 || l.acc(0).Locked != types.Coin || l.acc(1).Locked != 0 {
		t.Fatalf("locked %s and %s after the epoch was given up", l.acc(0).Locked, l.acc(1).Locked)
	}
	l.balanced()
}
