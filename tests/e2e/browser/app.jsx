// An application as FusionAuth's React SDK is meant to be used: nothing here knows of Tollgate but `serverUrl`.

import { FusionAuthProvider, RequireAuth, useFusionAuth } from '@fusionauth/react-sdk';
import { useState } from 'react';
import { createRoot } from 'react-dom/client';

const { serverUrl, clientId, shouldAutoRefresh } = window.settings;

function Account() {
  const { isLoggedIn, userInfo, isFetchingUserInfo, error, startLogin, startRegister, startLogout, refreshToken } = useFusionAuth();
  const [answer, setAnswer] = useState('');
  const call = async () => {
    const response = await fetch(`${serverUrl}/v1/orders`, { credentials: 'include' });
    setAnswer(`${response.status} ${response.ok ? await response.text() : ''}`);
  };
  const refresh = async () => {
    try {
      setAnswer(`refreshed ${(await refreshToken()).status}`);
    } catch (failure) {
      setAnswer(`refused ${failure.message}`);
    }
  };
  return (
    <main>
      <p id="state">{isLoggedIn ? 'in' : 'out'}</p>
      <p id="user">{isFetchingUserInfo ? '' : (userInfo?.email ?? '')}</p>
      <p id="error">{error?.message ?? ''}</p>
      <p id="answer">{answer}</p>
      <button id="login" onClick={() => startLogin('the state of the application & more')}>Login</button>
      <button id="register" onClick={() => startRegister('new')}>Register</button>
      <button id="logout" onClick={() => startLogout()}>Logout</button>
      <button id="refresh" onClick={refresh}>Refresh</button>
      <button id="call" onClick={call}>Call</button>
      <RequireAuth>
        <p id="inside">for people who are logged in</p>
      </RequireAuth>
    </main>
  );
}

createRoot(document.getElementById('root')).render(
  <FusionAuthProvider
    serverUrl={serverUrl}
    clientId={clientId}
    redirectUri={window.location.origin}
    shouldAutoFetchUserInfo
    shouldAutoRefresh={shouldAutoRefresh}
    onRedirect={(state) => document.body.setAttribute('data-state', state ?? '')}
  >
    <Account />
  </FusionAuthProvider>,
);
