/**
 * Fills each <slirec-recommendations> of a page with the products that are stored for its shopper.
 *
 * One Storefront API request per section, sent when the section comes near the viewport. Nothing to show, an answer that
 * is late, or an error: the section stays hidden, and the attribute data-state says why (see README.md of the theme).
 * A custom element, because the browser then tells it when the theme editor adds, redraws, moves or removes its section.
 */
(() => {
  'use strict';
  // Two sections of one page bring this file twice.
  if (customElements.get('slirec-recommendations')) return;

  const API_VERSION = '2026-10';
  const TIMEOUT = 8000; // milliseconds
  const NEARNESS = '400px';
  const QUERY = `
    query SlirecRecommendations($handle: MetaobjectHandleInput!, $first: Int!) {
      metaobject(handle: $handle) {
        field(key: "products") {
          references(first: $first) {
            nodes {
              ... on Product {
                handle
                title
                vendor
                onlineStoreUrl
                featuredImage { url(transform: { maxWidth: 600 }) altText width height }
                priceRange {
                  minVariantPrice { amount currencyCode }
                  maxVariantPrice { amount currencyCode }
                }
              }
            }
          }
        }
      }
    }`;

  /** Returns the query; with a country and a language, prices and titles come as that market sees them. */
  function query(country, language) {
    if (!/^[A-Z]{2}$/.test(country) || !/^[A-Z]{2}(_[A-Z]{2})?$/.test(language)) return QUERY;
    return QUERY.replace(') {', `) @inContext(country: ${country}, language: ${language}) {`);
  }

  /** Returns the value as a recommendation handle, or null if it is not one. */
  function asHandle(value) {
    return /^[0-9a-f]{64}$/i.test(value || '') ? value.toLowerCase() : null;
  }

  function cookie(name) {
    if (!name) return null;
    const found = document.cookie.split('; ').find((pair) => pair.startsWith(`${name}=`));
    return found ? found.slice(name.length + 1) : null;
  }

  /** Returns the URL if it leads to a file over HTTP, or null (a `javascript:` or `data:` URL, say). */
  function safeUrl(value) {
    try {
      const url = new URL(value, document.baseURI);
      return ['https:', 'http:'].includes(url.protocol) ? url.href : null;
    } catch {
      return null;
    }
  }

  function price(range) {
    const low = range?.minVariantPrice;
    const high = range?.maxVariantPrice;
    if (!low) return '';
    const options = { style: 'currency', currency: low.currencyCode };
    let format;
    try {
      format = new Intl.NumberFormat(document.documentElement.lang || undefined, options);
    } catch {
      // A `lang` that is no language tag, or a code that is no currency.
      return `${low.amount} ${low.currencyCode}`;
    }
    const [from, to] = [Number(low.amount), Number(high?.amount ?? low.amount)];
    return to > from && format.formatRange ? format.formatRange(from, to) : format.format(from);
  }

  function element(name, className, text) {
    const made = document.createElement(name);
    made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function picture(product) {
    const frame = element('div', 'slirec__frame');
    const image = product.featuredImage;
    const source = image && safeUrl(image.url);
    if (!source) {
      // Without a photograph: the first letter on a tint of its own; nothing for a screen reader.
      frame.classList.add('slirec__frame--empty');
      frame.setAttribute('aria-hidden', 'true');
      frame.textContent = [...product.title][0] || '';
      const hue = [...product.handle].reduce((sum, letter) => (31 * sum + letter.codePointAt(0)) % 360, 0);
      frame.style.setProperty('--slirec-hue', hue);
      return frame;
    }
    const shown = element('img', 'slirec__image');
    // The link carries the title: an image without a description of its own has nothing to add to it.
    shown.alt = image.altText && image.altText !== product.title ? image.altText : '';
    shown.loading = 'lazy';
    shown.decoding = 'async';
    if (image.width && image.height) {
      shown.width = image.width;
      shown.height = image.height;
    }
    shown.src = source;
    frame.append(shown);
    return frame;
  }

  function card(product, { root, withVendor, withPrice }) {
    const item = element('li', 'slirec__card');
    const link = element('a', 'slirec__link', product.title);
    link.setAttribute('href', `${root.replace(/\/+$/, '')}/products/${encodeURIComponent(product.handle)}`);
    item.append(picture(product), link);
    if (withVendor && product.vendor) item.append(element('p', 'slirec__vendor', product.vendor));
    const amount = withPrice && price(product.priceRange);
    if (amount) item.append(element('p', 'slirec__price', amount));
    return item;
  }

  class SlirecRecommendations extends HTMLElement {
    connectedCallback() {
      if (this.dataset.state === 'shown') return; // moved, not redrawn
      const handle = asHandle(this.dataset.handle) || asHandle(cookie(this.dataset.cookie));
      if (!handle || !this.dataset.token) {
        this.dataset.state = handle ? 'no token' : 'no shopper';
        return;
      }
      this.dataset.state = 'waiting';
      this.observer = new IntersectionObserver(
        (entries) => {
          if (!entries.some((entry) => entry.isIntersecting)) return;
          this.observer.disconnect();
          this.fill(handle);
        },
        { rootMargin: NEARNESS },
      );
      this.observer.observe(this);
    }

    disconnectedCallback() {
      this.observer?.disconnect();
      this.controller?.abort();
    }

    async fill(handle) {
      const controller = new AbortController();
      const { signal } = controller;
      const timer = setTimeout(() => controller.abort(), TIMEOUT);
      this.controller = controller;
      try {
        const products = await this.products(handle, signal);
        if (!signal.aborted) this.show(products);
      } catch {
        // A shop without recommendations is still a shop: the shopper sees no message, the console no error.
        if (this.controller === controller) this.dataset.state = 'failed';
      } finally {
        clearTimeout(timer);
      }
    }

    /** Returns the published products in the stored order. Throws if the API does not answer with data. */
    async products(handle, signal) {
      const { token, viewed, country, language } = this.dataset;
      const count = Number(this.dataset.count);
      const market = [country, language].map((code) => (code || '').toUpperCase().replace('-', '_'));
      // Deleted and unpublished products come as nothing or without a page: twice as many leave enough.
      const variables = { handle: { type: 'slirec_recommendations', handle }, first: 2 * count };
      const response = await fetch(`/api/${API_VERSION}/graphql.json`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-Shopify-Storefront-Access-Token': token },
        body: JSON.stringify({ query: query(...market), variables }),
        signal,
      });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const { data } = await response.json();
      const nodes = data.metaobject?.field?.references?.nodes ?? [];
      const sellable = (product) => product?.handle && product.onlineStoreUrl && product.handle !== viewed;
      return nodes.filter(sellable).slice(0, count);
    }

    show(products) {
      const { root, vendor, price: priced } = this.dataset;
      const options = { root: root || '', withVendor: vendor !== undefined, withPrice: priced !== undefined };
      this.querySelector('ul').replaceChildren(...products.map((product) => card(product, options)));
      this.querySelector('section').hidden = products.length === 0;
      this.dataset.state = products.length ? 'shown' : 'nothing to show';
    }
  }

  customElements.define('slirec-recommendations', SlirecRecommendations);
})();
