import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, test } from "vitest";
import { TenantTable } from "./tenant-table.ts";

test("rows of one name share a slot, and a name keeps it while a row of it is open", () => {
  const numRows = 4;
  const action = fc.record({ row: fc.nat(numRows - 1), name: fc.constantFrom(...Array.from("abcdefghij")) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 100 }), (actions) => {
      const tenants = new TenantTable(numRows, new Map());
      const open = new Map<number, string>();
      for (const { row, name } of actions) {
        if (open.delete(row)) tenants.close(row);
        else {
          tenants.open(row, name);
          open.set(row, name);
        }
        const slots = new Map<string, number>();
        for (const [each, itsName] of open) {
          const slot = tenants.ofRow[each]!;
          assert.equal(slot, tenants.find(itsName));
          assert.equal(slots.get(itsName) ?? slot, slot);
          slots.set(itsName, slot);
        }
        assert.equal(new Set(slots.values()).size, slots.size);
      }
    }),
  );
});

test("any number of names fits into the same memory, and the one that got least is forgotten", () => {
  const tenants = new TenantTable(2, new Map());
  for (const [name, served] of [
    ["heavy", 100],
    ["light", 1],
    ["middle", 10],
  ] as const) {
    tenants.open(0, name);
    tenants.served[tenants.ofRow[0]!] = served;
    tenants.close(0);
  }
  expect(tenants.numSlots).toBe(3);
  tenants.open(0, "new");
  expect(tenants.find("light")).toBe(-1);
  expect(tenants.served[tenants.find("heavy")]).toBe(100);
  expect(tenants.served[tenants.find("new")]).toBe(0);
});

test("a configured weight holds again after its tenant was forgotten", () => {
  const tenants = new TenantTable(1, new Map([["gold", 4]]));
  for (const name of ["gold", "a", "b", "c", "gold"]) {
    tenants.open(0, name);
    expect(tenants.weights[tenants.ofRow[0]!]).toBe(name === "gold" ? 4 : 1);
    tenants.close(0);
  }
});
