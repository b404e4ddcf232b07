// Bundles app.jsx and serves it on an origin of its own, as a content delivery network would.

import { once } from 'node:events';
import { createServer } from 'node:http';

import { build } from 'esbuild';

export async function serve(settings, port) {
  const { outputFiles } = await build({
    entryPoints: ['app.jsx'],
    bundle: true,
    write: false,
    format: 'iife',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'error',
  });
  const script = outputFiles[0].text;
  const page = `<!doctype html><html lang="en"><title>Application</title><body><div id="root"></div>
<script>window.settings = ${JSON.stringify(settings)}</script><script src="/app.js"></script></body></html>`;
  const server = createServer((request, response) => {
    const isScript = request.url === '/app.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? script : page);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://localhost:${server.address().port}`, close: () => server.close() };
}
