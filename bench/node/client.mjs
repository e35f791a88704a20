// Hears the stream of a URL again and again until a budget of CPU time is spent, as `Sample::take` in src/harness.rs.
import { createParser } from 'eventsource-parser'

const [url, budgetMicros] = process.argv.slice(2)

async function hear() {
  const tally = { events: 0, data_bytes: 0, checksum: 0 }
  const parser = createParser({
    onEvent({ data }) {
      const length = data.length
      const sum = (data.charCodeAt(0) << 16) | (data.charCodeAt(length >> 1) << 8) | data.charCodeAt(length - 1)
      tally.events += 1
      tally.data_bytes += length
      tally.checksum = (Math.imul(tally.checksum, 31) + sum) | 0
    },
  })
  const response = await fetch(url, { headers: { accept: 'text/event-stream' } })
  const decoder = new TextDecoder()
  for await (const chunk of response.body) parser.feed(decoder.decode(chunk, { stream: true }))
  tally.checksum >>>= 0
  return tally
}

const tally = await hear()
let units = 0
let micros = 0
const begin = process.cpuUsage()
do {
  const again = await hear()
  if (JSON.stringify(again) !== JSON.stringify(tally)) throw new Error('passes differ')
  units += again.events
  const { user, system } = process.cpuUsage(begin)
  micros = user + system
} while (micros < budgetMicros)
console.log(JSON.stringify({ cost: micros * 1000, units, tally }))
