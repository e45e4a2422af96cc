import { expect, test } from "vitest";
import { createFollow } from "../src/parts/follow";

/** A place 100 high; the browser keeps what is shown within what there is. */
class Box {
  clientHeight = 100;
  #top = 0;
  #height = 1000;
  get scrollTop(): number {
    return this.#top;
  }
  set scrollTop(value: number) {
    this.#top = Math.max(0, Math.min(value, this.#height - this.clientHeight));
  }
  get scrollHeight(): number {
    return this.#height;
  }
  set scrollHeight(value: number) {
    this.#height = value;
    this.scrollTop = this.#top;
  }
}

function opened(): { box: Box; follow: ReturnType<typeof createFollow> } {
  const box = new Box();
  const follow = createFollow(() => box);
  follow.toEnd();
  follow.scrolled();
  return { box, follow };
}

test("it opens at the end, and what is measured late does not lead away from it", () => {
  const { box, follow } = opened();
  for (const height of [1400, 900, 2600]) {
    box.scrollHeight = height;
    follow.resized();
    follow.scrolled();
    expect(box.scrollTop).toBe(height - 100);
  }
  expect(follow.atEnd()).toBe(true);
});
test("an event of scrolling that comes after a growth is no reader", () => {
  const { box, follow } = opened();
  box.scrollHeight = 3000;
  follow.scrolled();
  expect(box.scrollTop).toBe(2900);
});
test("who reads above is left there, also while the text grows", () => {
  const { box, follow } = opened();
  box.scrollTop = 300;
  follow.scrolled();
  box.scrollHeight = 1500;
  follow.resized();
  follow.scrolled();
  expect(box.scrollTop).toBe(300);
  expect(follow.atEnd()).toBe(false);
});
test("a small step up is a step", () => {
  const { box, follow } = opened();
  box.scrollTop -= 30;
  follow.scrolled();
  box.scrollHeight += 200;
  follow.resized();
  expect(box.scrollTop).toBe(870);
});
test("down to near the end, and it follows again", () => {
  const { box, follow } = opened();
  box.scrollTop = 300;
  follow.scrolled();
  box.scrollTop = 850;
  follow.scrolled();
  expect(box.scrollTop).toBe(900);
  box.scrollHeight = 1200;
  follow.resized();
  expect(box.scrollTop).toBe(1100);
});
test("a place that grows taller at its end is still at its end", () => {
  const { box, follow } = opened();
  box.clientHeight = 160;
  box.scrollTop = 900;
  follow.scrolled();
  box.scrollHeight = 1100;
  follow.resized();
  expect(box.scrollTop).toBe(940);
});
test("to the end, from anywhere", () => {
  const { box, follow } = opened();
  box.scrollTop = 0;
  follow.scrolled();
  follow.toEnd();
  box.scrollHeight = 4000;
  follow.resized();
  expect(box.scrollTop).toBe(3900);
  expect(follow.atEnd()).toBe(true);
});
