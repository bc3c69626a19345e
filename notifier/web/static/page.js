// Keeps a page true while it is open, and carries out what its buttons say. Without this script the page
// reloads itself; with it, the server says when something changed, and only what differs is replaced.
"use strict"

const root = document.body.dataset.root
const main = document.getElementById("main")
// In milliseconds: how long nothing may be heard, and how often is asked what no stream tells of.
const PATIENCE = Number(document.body.dataset.patience)
const AGAIN = Number(document.body.dataset.again)

// ------------------------------------------------------------------------------------------------- times

let ahead = 0 // how far this machine's clock is ahead of the server's

function setClock() {
  ahead = Date.now() - Date.parse(main.dataset.now)
}

function spell(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000))
  if (seconds === 0) return "under 1s"
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ]
  const first = parts.findIndex(([count]) => count > 0)
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => count + unit).join(" ")
}

const CLOCKS = {
  since: age => spell(age),
  ago: age => (age < 1000 ? "just now" : `${spell(age)} ago`),
  until: age => (age > -1000 ? "now" : `in ${spell(-age)}`),
}

function tick() {
  const now = Date.now() - ahead
  for (const time of document.querySelectorAll("time[data-clock]")) {
    const words = CLOCKS[time.dataset.clock](now - Date.parse(time.dateTime))
    if (time.textContent !== words) time.textContent = words
  }
}

// --------------------------------------------------------------------------------- what differs, and only that

const keyOf = node => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id : "")

function childrenOf(node) {
  // Between items that have keys white space means nothing, and would only be in their way.
  const elements = [...node.children]
  return elements.some(keyOf) ? elements : [...node.childNodes]
}

function become(old, wanted) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== wanted.nodeValue) old.nodeValue = wanted.nodeValue
    return
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  }
  for (const { name } of [...old.attributes]) {
    const isTheirs = name === "open" && old.nodeName === "DETAILS" // what a person opened stays open
    if (!wanted.hasAttribute(name) && !isTheirs) old.removeAttribute(name)
  }
  const there = childrenOf(wanted)
  const keys = new Set(there.map(keyOf))
  const known = new Map()
  for (const child of childrenOf(old)) {
    const key = keyOf(child)
    if (key && keys.has(key)) known.set(key, child)
    else if (key) child.remove() // first, or all that follow would be moved, and lose their focus
  }
  let place = childrenOf(old)[0] ?? null
  const next = node => {
    let after = node.nextSibling
    while (after !== null && known.size > 0 && after.nodeType !== Node.ELEMENT_NODE) after = after.nextSibling
    return after
  }
  for (const child of there) {
    const key = keyOf(child)
    const same = key ? known.get(key) : place !== null && !keyOf(place) ? place : null
    if (same && same.nodeName === child.nodeName) {
      if (same === place) place = next(place)
      else old.insertBefore(same, place)
      become(same, child)
    } else {
      old.insertBefore(document.importNode(child, true), place)
    }
  }
  while (place !== null) {
    const after = place.nextSibling
    place.remove()
    place = after
  }
}

// ------------------------------------------------------------------------------------------------- live

const live = document.getElementById("live")
const silence = document.getElementById("silence")
const news = document.getElementById("news") // for who does not see what changes
let title = document.title
let stream = null
let isTold = false // whether the stream says something: one that a proxy holds back does not
let heard = performance.now() // when the server said or answered something last
let heardAt = Date.now() // the same by the wall clock
let asking = null // what ends the question that is under way
let asked = 0 // when it was asked
let isLost = false
let changed = false // while it was asked
let rested = 0 // when it may be asked again
let waiting = 0

function showState() {
  const isLive = isTold && stream !== null && stream.readyState === EventSource.OPEN
  const [state, words] = isLost ? ["lost", "no answer"] : isLive ? ["live", "live"] : ["still", `reloads every ${AGAIN / 1000} s`]
  if (live.dataset.live === state) return
  live.dataset.live = state
  live.querySelector("span").textContent = words
}

function hear() {
  heard = performance.now()
  heardAt = Date.now()
}

// Until an answer has come: a stream that says something again is only a reason to ask.
function lose() {
  if (isLost) return
  isLost = true
  const [day, time] = new Date(heardAt - ahead).toISOString().split("T")
  const isToday = new Date(Date.now() - ahead).toISOString().startsWith(day)
  document.body.classList.add("silent")
  document.title = "no answer · backfill-notifier"
  silence.hidden = false
  silence.querySelector("p").textContent = `No answer since ${isToday ? "" : `${day} `}${time.slice(0, 8)} UTC; what is shown may be old`
  showState()
}

function find() {
  if (!isLost) return
  isLost = false
  document.body.classList.remove("silent")
  document.title = title
  silence.hidden = true
  silence.querySelector("p").textContent = ""
  news.textContent = "It answers again"
}

async function refresh() {
  if (asking !== null) {
    changed = true
    return
  }
  asked = performance.now()
  asking = new AbortController()
  changed = false
  try {
    const headers = { Accept: "text/html" }
    const answer = await fetch(location.href, { headers, cache: "no-store", signal: asking.signal })
    if ([400, 401, 403, 404].includes(answer.status)) {
      location.reload() // to sign in, or to be told that it is gone
      return
    }
    if (!answer.ok) throw new Error(answer.statusText)
    const page = new DOMParser().parseFromString(await answer.text(), "text/html")
    hear()
    find()
    take(page)
    showState()
  } catch {
    lose()
  } finally {
    asking = null
    // A page that takes long to make is not asked for all the time.
    rested = performance.now() + Math.max(250, 4 * (performance.now() - asked))
  }
  if (changed) refreshSoon()
}

function refreshSoon() {
  if (waiting !== 0) return
  waiting = setTimeout(() => {
    waiting = 0
    refresh()
  }, Math.max(0, rested - performance.now()))
}

// Half of the patience is for the stream, and half for the answer of who is asked because it is silent.
function watch() {
  const now = performance.now()
  const silent = now - heard
  if (asking !== null) {
    if (now - asked > 3 * PATIENCE) asking.abort()
    else if (Math.min(silent, now - asked) >= PATIENCE / 2) lose()
    return
  }
  const isOpen = stream !== null && stream.readyState === EventSource.OPEN
  const isDue = document.hidden
    ? now - asked >= 4 * AGAIN // for its title
    : isLost ? now - asked >= PATIENCE / 3 : silent >= (isOpen ? PATIENCE / 2 : AGAIN)
  if (isDue) {
    isTold &&= silent < PATIENCE / 2
    refresh()
    listen()
  }
}

function take(page) {
  const fresh = page.getElementById("main")
  if (fresh === null) return
  const section = document.activeElement?.closest("section")
  become(main, fresh)
  setClock()
  tick()
  if (title !== page.title) {
    title = document.title = page.title
    news.textContent = title.split(" · ")[0]
  }
  // What had the focus may be gone: a dead letter that was retried, a mute that ended.
  if (section && section.isConnected && document.activeElement === document.body) section.querySelector("h1, h2")?.focus()
}

function listen() {
  if (document.hidden || (stream !== null && stream.readyState !== EventSource.CLOSED)) return
  isTold = false
  stream = new EventSource(`${root}changes`)
  stream.addEventListener("error", leave)
  stream.addEventListener("changed", told)
  stream.addEventListener("beat", told)
}

function told(event) {
  hear()
  isTold = true
  showState()
  if (!isLost) {
    if (event.data !== main.dataset.mark) refreshSoon()
  } else if (asking === null) refreshSoon()
  else if (heard - asked >= PATIENCE / 3) asking.abort() // it was asked while nobody was there
}

function leave() {
  if (isTold) refresh() // whether it is still there
  isTold = false
  showState()
}

function hush() {
  stream?.close()
  stream = null
}

// ------------------------------------------------------------------------------------------------- orders

const outcome = document.getElementById("outcome")
let clearing = 0

function say(words, isBad = false) {
  const line = document.createElement("p")
  line.textContent = words
  line.className = isBad ? "bad" : ""
  outcome.replaceChildren(line)
  clearTimeout(clearing)
  clearing = setTimeout(() => outcome.replaceChildren(), 10_000)
}

// Returns what the API answers. Throws an error whose message is for people.
async function order(method, path, body) {
  let answer
  try {
    answer = await fetch(`${root}api/v1/${path}`, {
      method,
      headers: { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(3 * PATIENCE),
    })
  } catch {
    refresh() // is it still there?
    throw new Error("The notifier does not answer.")
  }
  const said = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Error(said.error ? `That did not work: ${said.error}` : `That did not work (${answer.status}).`)
  return said
}

async function carryOut(button, act) {
  if (button.getAttribute("aria-disabled") === "true") return
  button.setAttribute("aria-disabled", "true")
  try {
    say(await act())
    await refresh()
  } catch (error) {
    say(error.message, true)
  } finally {
    button.removeAttribute("aria-disabled")
  }
}

const counted = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`

async function retry(button) {
  const { retry: id, retryTarget: target } = button.dataset
  const path = id === undefined ? "deliveries/retry" : `deliveries/${encodeURIComponent(id)}/retry`
  const { retried } = await order("POST", path, id === undefined ? { target } : {})
  return `${counted(retried.length, "dead letter is", "dead letters are")} sent again.`
}

async function unmute(button) {
  const { unmuted } = await order("DELETE", `mutes/${encodeURIComponent(button.dataset.unmute)}`)
  return `${counted(unmuted.length, "mute has", "mutes have")} ended.`
}

const dialog = document.getElementById("mute")
const form = dialog.querySelector("form")
const problem = document.getElementById("mute-problem")
let muted = {}

function askMute(button) {
  muted = { ...button.dataset }
  form.reset()
  problem.textContent = ""
  document.getElementById("mute-job").textContent = muted.title
  document.getElementById("mute-table").textContent = muted.table
  for (const name of form.querySelectorAll(".mute-source")) name.textContent = muted.source
  form.querySelector('[value="table"]').closest("label").hidden = muted.table === ""
  dialog.showModal()
}

// A glob that means this table alone, whatever characters its name has.
const glob = table => table.replace(/[*?[]/g, "[$&]")

async function mute() {
  const chosen = new FormData(form)
  const what = {
    job: { job_id: muted.mute, source: muted.source },
    table: { table: glob(muted.table), source: muted.source },
    source: { source: muted.source },
  }[chosen.get("what")]
  const reason = chosen.get("reason").trim()
  try {
    await order("POST", "mutes", { ...what, for: chosen.get("for"), ...(reason && { reason }) })
  } catch (error) {
    problem.textContent = error.message
    return
  }
  dialog.close()
  say(`Muted for ${form.querySelector('[name="for"]:checked').nextElementSibling.textContent}.`)
  await refresh()
}

form.addEventListener("submit", event => {
  event.preventDefault()
  mute()
})
document.getElementById("mute-not").addEventListener("click", () => dialog.close())

document.addEventListener("click", event => {
  const button = event.target.closest("button")
  if (button === null) return
  if (button.dataset.retry !== undefined || button.dataset.retryTarget !== undefined) carryOut(button, () => retry(button))
  else if (button.dataset.unmute !== undefined) carryOut(button, () => unmute(button))
  else if (button.dataset.mute !== undefined) askMute(button)
})

// ------------------------------------------------------------------------------------------------- start

setClock()
tick()
setInterval(tick, 1000)
listen()
setInterval(watch, Math.min(1000, PATIENCE / 10))
document.addEventListener("visibilitychange", () => {
  // A browser has six connections to a server: pages that nobody sees would take them from the one in view.
  if (document.hidden) {
    hush()
    return
  }
  listen()
  refresh()
})
